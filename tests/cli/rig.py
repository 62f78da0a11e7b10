"""Giving commands in the test's own process, and scripts for them to work on."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore.cli import main
from athanore.launch.serving import serving
from tests.api.rig import Api


@dataclass(frozen=True)
class Output:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.out)


class Cli:
    """Calls `athanore` as its console script does, against one Prefect."""

    def __init__(self, prefect_api: str, capture: pytest.CaptureFixture[str]) -> None:
        self._prefect_api = prefect_api
        self._capture = capture

    def __call__(self, *arguments: str) -> Output:
        """Give a command and return what came of it, whatever that is."""
        self._capture.readouterr()
        with (
            temporary_settings({PREFECT_API_URL: self._prefect_api}),
            pytest.raises(SystemExit) as exit_,
        ):
            main(arguments)
        out, err = self._capture.readouterr()
        assert isinstance(exit_.value.code, int)
        return Output(exit_.value.code, out, err)

    def ok(self, *arguments: str) -> Output:
        """Give a command that must succeed."""
        output = self(*arguments)
        assert output.code == 0, f"{arguments}: exit code {output.code}\n{output.err}{output.out}"
        return output


SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, command="sh", queue_backend=JsonFileAdapter({board!r}),
    poll_interval={poll_interval}, api_port=0, shutdown_grace=1,
)

@dispatcher.route("Todo", args=["-c", {shell!r}], done_queue="Done", dead_letter_queue="Failed")
def todo(task_id: str, task_name: str) -> str:
    return task_name

@dispatcher.route("Review", args=["-c", "exit 0"], done_queue="Done", priority=1, timeout=60)
def review(task_id: str, task_name: str) -> str:
    return task_name
"""

QUEUES = ["Todo", "Review", "In Progress", "Done", "Failed", "Backlog"]


def write_script(folder: Path, name: str, shell: str = "exit 0", poll_interval: int = 3600) -> Path:
    """Write `run.py` and `board.json`: an app of two routes.

    Args:
        shell: what the agent of `Todo` does.
        poll_interval: seconds; by default a poll comes only at the start.
    """
    board = folder / "board.json"
    if not board.exists():
        board.write_text(json.dumps({"queues": {q: [] for q in QUEUES}}))
    script = folder / "run.py"
    script.write_text(
        SCRIPT.format(name=name, board=str(board), shell=shell, poll_interval=poll_interval)
    )
    return script


@contextmanager
def beside(api: Api) -> Generator[None]:
    """Have commands find the app that is served."""
    host, _, port = api.url.removeprefix("http://").partition(":")
    script, address = Path("run.py").resolve(), (host, int(port))
    with serving("run.py:dispatcher", script, address, api.prefect_api, needs_token=False):
        yield
