"""A worker is killed: its agents die with it, and its tasks are worked on again, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from athanore import JsonFileAdapter
from tests.harness import Prefect, app_name
from tests.support import clean_environment, free_port, stop_group, wait_until

AGENT = """\
#!{python}
import os, pathlib, sys, time
record = pathlib.Path({record!r})
with record.open("a") as log:
    log.write(f"start {{os.environ['ATHANORE_ATTEMPT']}} {{os.getpid()}}\\n")
hang = pathlib.Path({hang!r})
while hang.exists():
    time.sleep(0.05)
with record.open("a") as log:
    log.write(f"end {{os.environ['ATHANORE_ATTEMPT']}} {{os.getpid()}}\\n")
"""

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, command={agent!r}, poll_interval=2, api_port={port}, shutdown_grace=0,
    queue_backend=JsonFileAdapter("board.json"), max_crashes={max_crashes},
    dead_letter_queue="Failed",
)

@dispatcher.route(queue_name="Todo", done_queue="Done")
def work(task_id: str, task_name: str) -> str:
    return task_name

if __name__ == "__main__":
    dispatcher.run()
"""


class Site:
    """A folder with a script, a board and an agent, and the processes that were started there."""

    def __init__(self, folder: Path, prefect_api: str, max_crashes: int = 3) -> None:
        self.folder = folder
        self.name = app_name("crash")
        self.prefect = Prefect(prefect_api, self.name)
        self.record = folder / "record.txt"
        self.hang = folder / "hang"
        self.hang.touch()
        agent = folder / "agent.py"
        agent.write_text(
            AGENT.format(python=sys.executable, record=str(self.record), hang=str(self.hang))
        )
        agent.chmod(0o755)
        (folder / "run.py").write_text(
            textwrap.dedent(SCRIPT).format(
                name=self.name, agent=str(agent), port=free_port(), max_crashes=max_crashes
            )
        )
        board = {"queues": {"Todo": [{"id": "1", "name": "Fix it"}], "In Progress": [],
                            "Done": [], "Failed": []}}  # fmt: skip
        (folder / "board.json").write_text(json.dumps(board))
        self.board = JsonFileAdapter(folder / "board.json")
        self.env = {**clean_environment(folder / "home"), "PREFECT_API_URL": prefect_api}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start the script in a process of its own."""
        with (self.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "run.py"], cwd=self.folder, env=self.env,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def lines(self) -> list[list[str]]:
        """What the agents recorded: start or end, attempt, pid."""
        text = self.record.read_text() if self.record.exists() else ""
        return [line.split() for line in text.splitlines()]

    def comments(self) -> list[str]:
        """The comments of the task."""
        return [c.text for c in self.board.get_task("1").comments]

    def close(self) -> None:
        """Stop what still runs."""
        for process in self.processes:
            if process.poll() is None:
                stop_group(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9, as the kernel does it when memory runs out."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.postgres
@pytest.mark.smoke
def test_a_killed_worker_takes_its_agent_along_and_the_task_is_done_by_the_next(
    tmp_path: Path, prefect_api: str
) -> None:
    site = Site(tmp_path, prefect_api)
    try:
        first = site.start()
        wait_until("the agent works", site.lines)
        pid = int(site.lines()[0][2])
        kill(first)
        wait_until("the agent is reaped", lambda: not psutil.pid_exists(pid))
        assert site.board.get_task("1").queue_name == "In Progress"
        site.hang.unlink()
        site.start()
        wait_until("the task is done", lambda: site.board.get_task("1").queue_name == "Done")
        assert site.comments() == ["Worker lost; returned to queue, attempt 1."]
        run = site.prefect.ended("1")
        assert "Crashed" in site.prefect.states(run["id"])
        assert run["state_name"] == "Completed"
        assert [line[0] for line in site.lines()] == ["start", "start", "end"]
        assert [line[1] for line in site.lines()] == ["1", "1", "1"], "a crash is no attempt"
    finally:
        site.close()


@pytest.mark.nightly
def test_a_task_that_kills_its_workers_ends_in_the_dead_letter_queue(
    tmp_path: Path, prefect_api: str
) -> None:
    site = Site(tmp_path, prefect_api, max_crashes=1)
    try:
        for starts in (1, 2):
            process = site.start()
            wait_until("an agent works", lambda starts=starts: len(site.lines()) == starts)
            kill(process)
        site.start()
        wait_until("the task is given up", lambda: site.board.get_task("1").queue_name == "Failed")
        assert site.comments() == [
            "Worker lost; returned to queue, attempt 1.",
            "Max crashes (1) exhausted. Moving to dead-letter queue.",
        ]
        assert len(site.lines()) == 2
    finally:
        site.close()


@pytest.mark.nightly
def test_a_worker_that_stands_still_has_its_agent_killed_and_gives_the_task_back(
    tmp_path: Path, prefect_api: str
) -> None:
    site = Site(tmp_path, prefect_api)
    site.env["ATHANORE_WORKER_LOST_AFTER"] = "16"
    try:
        worker = site.start()
        wait_until("the agent works", site.lines)
        agent = psutil.Process(int(site.lines()[0][2]))
        worker.send_signal(signal.SIGSTOP)
        wait_until(
            "the agent is killed",  # and stays a zombie: its parent stands still
            lambda: not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE,
        )
        site.hang.unlink()
        worker.send_signal(signal.SIGCONT)
        wait_until("the task is done", lambda: site.board.get_task("1").queue_name == "Done")
        assert site.comments() == ["Worker was cut off from Prefect; returned to queue, attempt 1."]
        assert [line[:2] for line in site.lines()] == [["start", "1"], ["start", "1"], ["end", "1"]]
    finally:
        site.close()


@pytest.mark.nightly
def test_cards_that_people_put_in_progress_are_theirs(tmp_path: Path, prefect_api: str) -> None:
    site = Site(tmp_path, prefect_api)
    site.hang.unlink()
    mine = site.board.create_task("In Progress", "My own work")
    try:
        site.start()
        wait_until("the task is done", lambda: site.board.get_task("1").queue_name == "Done")
        card = site.board.get_task(mine.id)
        assert (card.queue_name, card.comments) == ("In Progress", ())
        assert site.prefect.runs(mine.id) == []
    finally:
        site.close()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.nightly
def test_a_signal_returns_the_task_and_leaves_no_process(
    tmp_path: Path, prefect_api: str, sign: signal.Signals
) -> None:
    site = Site(tmp_path, prefect_api)
    try:
        process = site.start()
        wait_until("the agent works", site.lines)
        pid = int(site.lines()[0][2])
        process.send_signal(sign)
        assert process.wait(120) == 0
        assert not psutil.pid_exists(pid)
        assert site.board.get_task("1").queue_name == "Todo"
        assert site.comments() == ["Worker is shutting down; returned to queue, attempt 1."]
    finally:
        site.close()


def test_a_worker_waits_for_the_prefect_that_it_was_told_of(
    tmp_path: Path, prefect_api: str
) -> None:
    site = Site(tmp_path, prefect_api)
    away = f"http://127.0.0.1:{free_port()}/api"
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from athanore.cli import main; main()", "worker", "run.py"],
            cwd=tmp_path, env={**site.env, "PREFECT_API_URL": away},
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until("it says so", lambda: "The worker waits for it." in log.read_text())
        assert f"No Prefect server answers at {away}." in log.read_text()
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        stop_group(process)
