"""What an app is: its name, its board and its home, however its file is called and started."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import command
from tests.harness import Prefect, app_name
from tests.support import clean_environment, free_port, stop_group, wait_until

SCRIPT = """\
from pathlib import Path
from athanore import AgentDispatcher, JsonFileAdapter

HERE = Path(__file__).parent
dispatcher = AgentDispatcher(
    {name}command="sh", queue_backend=JsonFileAdapter(HERE / "board.json"),
    poll_interval=1, shutdown_grace=1, max_retries=1,
)

@dispatcher.route("Todo", args=["-c", {shell!r}], cwd=HERE, done_queue="Done", retry_delay=15)
def todo(task_id: str, task_name: str) -> str:
    return task_name

if __name__ == "__main__":
    dispatcher.run()
"""


class Folder:
    """An app in a folder of its own, on the session's Prefect."""

    def __init__(self, folder: Path, prefect_api: str) -> None:
        self.path = folder
        self.board = folder / "board.json"
        self.port = free_port()
        self._prefect_api = prefect_api

    def made(self, name: str | None, shell: str = "exit 0") -> Folder:
        """Write an app with a task, whose agents run this."""
        self.path.mkdir(parents=True)
        said = "" if name is None else f"name={name!r}, "
        (self.path / "run.py").write_text(SCRIPT.format(name=said, shell=shell))
        queues = {"Todo": [{"id": "1", "name": "A task"}], "In Progress": [], "Done": []}
        self.board.write_text(json.dumps({"queues": queues}))
        return self

    def athanore(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Give a command in the folder."""
        return subprocess.run(
            command(*words), cwd=cwd or self.path, env=self._environment(),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        return {
            **clean_environment(self.path / "home"),
            "PREFECT_API_URL": self._prefect_api,
            "ATHANORE_API_PORT": str(self.port),
        }

    @contextmanager
    def started(self, *arguments: str, cwd: Path | None = None) -> Generator[Path]:
        """Run a script with Python meanwhile; yields its log."""
        log = self.path / "log.txt"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=cwd or self.path, env=self._environment(),
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            yield log
        except BaseException:
            sys.stderr.write(log.read_text()[-3000:])
            raise
        finally:
            stop_group(process)

    def queue_of(self, task_id: str) -> str:
        """Where a task is, as the file says."""
        queues: dict[str, list[dict[str, Any]]] = json.loads(self.board.read_text())["queues"]
        return next(q for q, tasks in queues.items() if any(t["id"] == task_id for t in tasks))


@pytest.mark.nightly
def test_a_retry_goes_on_after_the_file_was_renamed_and_started_from_elsewhere(
    prefect_api: str, tmp_path: Path
) -> None:
    name = app_name("renamed")
    fails_once = "[ -e tried ] && exit 0; touch tried; exit 3"
    app = Folder(tmp_path / "lab", prefect_api).made(name, fails_once)
    prefect = Prefect(prefect_api, name)
    with app.started("run.py"):
        wait_until(
            "a retry waits",
            lambda: any(r["state_name"] == "AwaitingRetry" for r in prefect.runs("1")),
        )
    (app.path / "run.py").rename(app.path / "fleet.py")
    with app.started("lab/fleet.py", cwd=tmp_path):
        run = prefect.ended("1")
    assert run["state_name"] == "Completed"
    assert "Crashed" not in prefect.states(run["id"])
    assert app.queue_of("1") == "Done"


@pytest.mark.nightly
def test_an_app_of_the_same_name_on_another_board_is_refused(
    prefect_api: str, tmp_path: Path
) -> None:
    name = app_name("twice")
    prefect = Prefect(prefect_api, name)
    first = Folder(tmp_path / "first", prefect_api).made(name)
    assert first.athanore("deploy").returncode == 0
    shutil.copytree(first.path, tmp_path / "copy")
    copy = Folder(tmp_path / "copy", prefect_api)
    (copy.path / "run.py").write_text(
        (copy.path / "run.py").read_text().replace('"Todo"', '"Inbox"')
    )
    for arguments in (["deploy"], ["pools"], ["status"]):
        refused = copy.athanore(*arguments)
        assert refused.returncode == 2, refused.stdout
        assert refused.stderr.count("\n") == 1
        assert f"an app {name!r} already, on the board {first.board} on " in refused.stderr
        assert f"this one is on {copy.board} on " in refused.stderr
        assert "Give one of them another name=" in refused.stderr
    assert {d["parameters"]["queue_name"] for d in deployments(prefect)} == {"Todo"}
    # The same board in another place is no other board.
    moved = Folder(first.path.rename(tmp_path / "moved"), prefect_api)
    assert moved.athanore("deploy").returncode == 0
    # Who says so gets it, and then it is the first that is refused.
    assert copy.athanore("deploy", "--new-board").returncode == 0
    assert {d["parameters"]["queue_name"] for d in deployments(prefect)} == {"Inbox"}
    assert moved.athanore("deploy").returncode == 2


@pytest.mark.nightly
def test_an_app_without_a_name_is_told_from_another_by_its_home(
    prefect_api: str, tmp_path: Path
) -> None:
    name = app_name("unnamed")
    first, second = (Folder(tmp_path / d / name, prefect_api).made(None) for d in ("one", "two"))
    with first.started("run.py"):
        wait_until("it is at work", lambda: first.queue_of("1") == "Done")
        for arguments in (["deploy"], ["up"], ["worker"]):
            refused = second.athanore(*arguments)
            assert refused.returncode == 2
            assert f"{name!r} already, which is at work from {first.path} on " in refused.stderr
            assert "name=" in refused.stderr
    # It is at work no more, and may have moved.
    assert second.athanore("deploy").returncode == 0
    with second.started("run.py"):
        wait_until("its own task is done", lambda: second.queue_of("1") == "Done")


def deployments(prefect: Prefect) -> list[dict[str, Any]]:
    """What Prefect has of an app."""
    tags = {"deployments": {"tags": {"all_": [f"app:{prefect.app}"]}}}
    return prefect.post("/deployments/filter", tags)


@pytest.mark.nightly
def test_two_apps_that_init_made_do_not_touch_each_other(prefect_api: str, tmp_path: Path) -> None:
    names = [app_name("init"), app_name("init-ü")]
    apps = [Folder(tmp_path / name, prefect_api) for name in names]
    for app in apps:
        assert app.athanore("init", app.path.name, cwd=tmp_path).returncode == 0
    with apps[0].started("run.py"), apps[1].started("run.py"):
        for app in apps:
            wait_until("its own task is done", lambda app=app: app.queue_of("1") == "Done")
        runs = [Prefect(prefect_api, name).ended("1") for name in names]
        again = apps[0].athanore("up")
        apps[1].port = apps[0].port
        other = apps[1].athanore("up")
    assert (
        f"The app {names[0]!r} runs here already: http://127.0.0.1:{apps[0].port}" in again.stderr
    )
    assert f"is the task API of another app, {names[0]!r}" in other.stderr
    assert [again.returncode, other.returncode] == [2, 2]
    assert [run["work_pool_name"] for run in runs] == [f"{name}-agents" for name in names]
    assert [len(Prefect(prefect_api, name).runs("1")) for name in names] == [1, 1]
    for app in apps:
        assert app.board.read_text().count("Hello! I have read 'Say hello'.") == 1
