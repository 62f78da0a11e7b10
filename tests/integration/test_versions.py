"""A new version of an app is deployed while the old one's worker is still at work."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from tests.harness import Prefect, app_name
from tests.support import clean_environment, free_port, stop_group, wait_until

# An agent writes down whose it is, and works until all may end.
AGENT = 'echo "$ATHANORE_TASK_ID $0" >> record; while ! [ -e go ]; do sleep 0.1; done'

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, command="sh", poll_interval=2, api_port={port}, shutdown_grace=60,
    queue_backend=JsonFileAdapter("../board.json"), max_concurrent_agents=20,
)

@dispatcher.route("Todo", args=["-c", {agent!r}], cwd="..", done_queue="Done", timeout={timeout})
def todo(task_id: str, task_name: str) -> str:
    return {version!r}
"""

NEW_ROUTE = """
@dispatcher.route("Extra", args=["-c", "exit 0"], done_queue="Done")
def extra(task_id: str, task_name: str) -> str:
    return "extra"
"""


class Version:
    """One version of the app, in a folder of its own: `athanore` works there."""

    def __init__(self, site: Path, name: str, prefect_api: str, version: str, timeout: int) -> None:
        self.version = version
        self.folder = site / version
        self.folder.mkdir()
        (self.folder / "run.py").write_text(
            SCRIPT.format(
                name=name, port=free_port(), agent=AGENT, timeout=timeout,
                version=version,
            )
        )  # fmt: skip
        self._env = {
            **clean_environment(site / "home"),
            "PREFECT_API_URL": prefect_api,
            # What the other version's poll has found is found sooner than after ten seconds.
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        call = f"from athanore.cli import main; main({[*command, 'run.py']})"
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", call], cwd=self.folder, env=self._env,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def log(self) -> str:
        """What its commands have said."""
        return (self.folder / "log.txt").read_text()

    def deploy(self) -> None:
        """Run `athanore deploy`."""
        assert self._start("deploy").wait(120) == 0, self.log()

    def dispatch(self, task_id: str) -> subprocess.Popen[bytes]:
        """Run `athanore dispatch`."""
        return self._start("dispatch", task_id, "--app")

    @contextmanager
    def worker(self) -> Generator[subprocess.Popen[bytes]]:
        """Run `athanore worker` meanwhile."""
        process = self._start("worker")
        try:
            yield process
        finally:
            if process.poll() is None:
                stop_group(process)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_no_task_gets_two_agents_while_two_versions_work_side_by_side(
    prefect_api: str, tmp_path: Path
) -> None:
    name = app_name("versions")
    prefect = Prefect(prefect_api, name)
    (tmp_path / "board.json").write_text('{"queues": {"Todo": [], "In Progress": [], "Done": []}}')
    board = JsonFileAdapter(tmp_path / "board.json")
    record = tmp_path / "record"
    tasks: list[str] = []

    def agents() -> list[tuple[str, str]]:
        """The task and the version of every agent that was started."""
        lines = record.read_text().splitlines() if record.exists() else []
        return [(task, version) for task, version in map(str.split, lines)]

    def four_more() -> list[str]:
        """Put four tasks in the queue, and return whose agents they got."""
        new = [board.create_task("Todo", "A task").id for _ in range(4)]
        tasks.extend(new)
        wait_until("they are worked on", lambda: {*new} <= {task for task, _ in agents()})
        return [version for task, version in agents() if task in new]

    old = Version(tmp_path, name, prefect_api, "old", timeout=600)
    new = Version(tmp_path, name, prefect_api, "new", timeout=900)
    old.deploy()
    with old.worker() as leaving:
        assert four_more() == ["old"] * 4
        new.deploy()
        with new.worker():
            workers = f"/work_pools/{name}-agents/workers/filter"
            wait_until("both are there", lambda: len(prefect.post(workers, {})) == 2)
            assert len(four_more()) == 4
            leaving.send_signal(signal.SIGTERM)
            wait_until("the old one takes no more", lambda: "may finish within" in old.log())
            assert four_more() == ["new"] * 4
            (tmp_path / "go").touch()
            assert leaving.wait(90) == 0, "its agents could finish"
            wait_until("all are done", lambda: board.get_queue("Done").task_count == len(tasks))
            assert {prefect.ended(task)["state_name"] for task in tasks} == {"Completed"}
    assert sorted(task for task, _ in agents()) == sorted(tasks), "one agent each"
    assert all(board.get_task(task).comments == () for task in tasks)


@pytest.mark.nightly
def test_a_worker_without_the_new_route_leaves_its_runs_to_others(
    prefect_api: str, tmp_path: Path
) -> None:
    name = app_name("versions")
    prefect = Prefect(prefect_api, name)
    queues: dict[str, list[str]] = {"Todo": [], "Extra": [], "In Progress": [], "Done": []}
    (tmp_path / "board.json").write_text(json.dumps({"queues": queues}))
    (tmp_path / "go").touch()
    board = JsonFileAdapter(tmp_path / "board.json")
    old = Version(tmp_path, name, prefect_api, "old", timeout=600)
    new = Version(tmp_path, name, prefect_api, "new", timeout=600)
    script = new.folder / "run.py"
    script.write_text(script.read_text() + NEW_ROUTE)
    old.deploy()
    with old.worker():
        new.deploy()
        theirs = board.create_task("Extra", "For the new route").id
        assert new.dispatch(theirs).wait(120) == 0, new.log()
        wait_until(
            "the old worker has seen it", lambda: "left to workers that have it" in old.log()
        )
        known = board.create_task("Todo", "For a route that both have").id
        wait_until("the old one works", lambda: board.get_task(known).queue_name == "Done")
        run = prefect.run(theirs)
        assert run["state_type"] == "SCHEDULED"
        with new.worker():
            wait_until("it is done", lambda: board.get_task(theirs).queue_name == "Done")
            prefect.ended(theirs)
            polls = [
                r["state_name"]
                for r in prefect.runs(kind="poll")
                if r["parameters"]["queue_name"] == "Extra"
            ]
    assert board.get_task(theirs).comments == ()
    assert not {"Cancelled", "Crashed", "Failed"} & set(prefect.states(run["id"]))
    assert polls and not {"Failed", "Crashed", "No such route"} & set(polls)
    assert "ERROR" not in old.log()
