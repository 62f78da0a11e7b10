"""What an app is: its name, its board and its home, however its file is called and started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Prefect, app_name
from tests.support import clean_environment, free_port, stop_group, wait_until

pytestmark = pytest.mark.timeout(300)

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

    def __init__(self, folder: Path, prefect_api: str, name: str | None, shell: str) -> None:
        self.path = folder
        self.board = folder / "board.json"
        folder.mkdir(parents=True)
        said = "" if name is None else f"name={name!r}, "
        (folder / "run.py").write_text(SCRIPT.format(name=said, shell=shell))
        task = {"id": "1", "name": f"Task of {folder.name}"}
        queues = {"Todo": [task], "In Progress": [], "Done": []}
        self.board.write_text(json.dumps({"queues": queues}))
        self._prefect_api = prefect_api

    def _environment(self) -> dict[str, str]:
        return {
            **clean_environment(self.path / "home"),
            "PREFECT_API_URL": self._prefect_api,
            "ATHANORE_API_PORT": str(free_port()),
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


def test_a_retry_goes_on_after_the_file_was_renamed_and_started_from_elsewhere(
    prefect_api: str, tmp_path: Path
) -> None:
    name = app_name("renamed")
    app = Folder(tmp_path / "lab", prefect_api, name, "[ -e tried ] && exit 0; touch tried; exit 3")
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
