"""Four workers under load: a drain, and a rolling restart that stops no agent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from athanore import JsonFileAdapter
from tests.harness import Prefect, app_name
from tests.support import clean_environment, stop_group, wait_until

CLI = "from athanore.cli import main; main()"
WORKERS, LIMIT = 4, 4

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, max_concurrent_agents=16, poll_interval=2, max_retries=2,
    command="{python} -IS {folder}/agent.py {folder}",
    queue_backend=JsonFileAdapter("board.json"),
)

@dispatcher.route(queue_name="Todo", done_queue="Done", in_progress_queue="Doing")
def work(task_id: str, task_name: str) -> str:
    return task_name
"""

AGENT = """\
import os, pathlib, sys, time
place = pathlib.Path(sys.argv[1])
with open(place / "starts", "a") as file:
    file.write(os.environ["ATHANORE_TASK_ID"] + "\\n")
time.sleep(2)
while (place / "hold").exists():
    time.sleep(0.1)
"""

# What starts a worker again that has ended, as systemd would.
SERVICE = 'while [ -e running ]; do "$0" -c "$1" worker --limit "$2" || exit; done'

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]


class Site:
    """An app whose workers are started again when they end."""

    def __init__(self, folder: Path, prefect_api: str) -> None:
        self.folder, self.name = folder, app_name("rolling")
        (folder / "agent.py").write_text(AGENT)
        for flag in ("hold", "running"):
            (folder / flag).touch()
        (folder / "run.py").write_text(
            SCRIPT.format(name=self.name, python=sys.executable, folder=folder)
        )
        (folder / "board.json").write_text(
            json.dumps({"queues": {"Todo": [], "Doing": [], "Done": []}})
        )
        self.board = JsonFileAdapter(folder / "board.json")
        self.prefect = Prefect(prefect_api, self.name)
        self.env = clean_environment(folder / "home") | {
            "PREFECT_API_URL": prefect_api, "ATHANORE_API_URL": "http://127.0.0.1:9",
        }  # fmt: skip
        self.tasks: list[str] = []

    def athanore(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", CLI, *words], cwd=self.folder, env=self.env, check=True,
            timeout=600, capture_output=True, text=True,
        ).stdout  # fmt: skip

    def workers(self) -> list[dict[str, Any]]:
        found = json.loads(self.athanore("workers", "--json"))
        return [w for w in found if w["state"] != "lost"]

    def add(self, count: int) -> None:
        self.tasks += [self.board.create_task("Todo", "A task").id for _ in range(count)]

    def starts(self) -> Counter[str]:
        file = self.folder / "starts"
        return Counter(file.read_text().split() if file.exists() else [])


def test_workers_are_drained_and_restarted_without_losing_an_agent(
    tmp_path: Path, prefect_api: str
) -> None:
    site = Site(tmp_path, prefect_api)
    site.athanore("deploy")
    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "log.txt").open("ab"))
        services = [
            subprocess.Popen(
                ["sh", "-c", SERVICE, sys.executable, CLI, str(LIMIT)], cwd=tmp_path, env=site.env,
                stdout=log, stderr=log, start_new_session=True,
            )
            for _ in range(WORKERS)
        ]  # fmt: skip
        for service in services:
            stack.callback(stop_group, service)
        wait_until("all workers are there", lambda: len(site.workers()) == WORKERS)
        time.sleep(6)  # each has heard of the others
        site.add(2 * WORKERS)
        wait_until("all agents work", lambda: len(site.starts()) == 2 * WORKERS)
        took = Counter(run["labels"]["athanore.worker"] for run in site.prefect.runs())
        assert len(took) == WORKERS and set(took.values()) <= {1, 2, 3}, took
        drained = site.workers()[0]["name"]
        site.athanore("worker", "drain", drained)
        (tmp_path / "hold").unlink()
        site.add(WORKERS)

        def is_drained() -> bool:
            return next(w for w in site.workers() if w["name"] == drained)["state"] == "drained"

        wait_until("it has no agent any more", is_drained)
        site.athanore("worker", "resume", drained)

        before = {w["name"] for w in site.workers()}
        told = tmp_path / "restart.txt"
        with told.open("wb") as output:
            restart = subprocess.Popen(
                [sys.executable, "-c", CLI, "workers", "restart"], cwd=tmp_path, env=site.env,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        stack.callback(stop_group, restart)
        while restart.poll() is None:  # there is always something to do
            if len(site.tasks) - len(site.board.get_ready_tasks(["Done"])) < 3 * WORKERS:
                site.add(1)
            time.sleep(0.3)
        said = told.read_text("utf-8")
        assert restart.returncode == 0, said
        assert said.count("has ended.") == said.count("has come") == WORKERS, said
        after = {w["name"] for w in site.workers()}
        assert len(after) == WORKERS and not after & before
        wait_until(
            "all tasks are done",
            lambda: len(site.board.get_ready_tasks(["Done"])) == len(site.tasks),
        )
        # A task is done a moment before its run says so.
        wait_until("all runs have ended", lambda: all(r["end_time"] for r in site.prefect.runs()))
        (tmp_path / "running").unlink()
    assert site.starts() == Counter(site.tasks), "each task had one agent"
    assert all(not site.board.get_task(task).comments for task in site.tasks)
    runs = site.prefect.runs()
    assert {run["state_name"] for run in runs} == {"Completed"}
    assert {run["labels"].get("athanore.crashes", 0) for run in runs} == {0}
    assert {run["run_count"] for run in runs} == {1}
