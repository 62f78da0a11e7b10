"""What a command orders beside the app is done once, whatever the app answers.

The app that commands would import if they gave an order a second time cannot be imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.cli import main
from athanore.errors import AnswerLostError, BoardUnavailableError
from athanore.models import Task
from tests.api.rig import Api, served
from tests.cli.rig import beside
from tests.harness import prompt

QUEUES = {"Todo": [], "In Progress": [], "Done": [], "Backlog": ["Fix the crash", "Fix the login"]}


class Board(MemoryAdapter):
    """A board in memory that does what it is told, and then fails with `error`."""

    error: Exception | None = None

    def _done[T](self, made: T) -> T:
        if self.error is not None:
            raise self.error
        return made

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        return self._done(super().create_task(queue_name, name, description))

    def add_comment(self, task_id: str, text: str) -> None:
        self._done(super().add_comment(task_id, text))

    def move_task(self, task_id: str, target_queue: str) -> None:
        self._done(super().move_task(task_id, target_queue))

    def update_task(self, task_id: str, **fields: Any) -> Task:
        return self._done(super().update_task(task_id, **fields))


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    Path("run.py").write_text("raise RuntimeError('a command has imported the app')\n")
    dispatcher = AgentDispatcher("true", name="orders", queue_backend=Board(QUEUES))
    dispatcher.route("Todo", done_queue="Done")(prompt)
    with served(dispatcher) as it, beside(it):
        yield it


def board_of(api: Api) -> Board:
    assert isinstance(api.board, Board)
    return api.board


def give(*words: str) -> int:
    """Give a command; returns its exit code."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


ANSWERS: Mapping[str, tuple[Callable[[], Exception], str]] = {
    "lost": (lambda: AnswerLostError("The board's answer was lost."), "answer was lost."),
    "a failure": (lambda: RuntimeError("no"), "failed, as its log says; look whether it was done"),
    "away": (lambda: BoardUnavailableError("The board is away."), "The board is away."),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_may_have_been_done_is_not_done_again(
    api: Api, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    make, says = ANSWERS[answer]
    board = board_of(api)
    board.error = make()
    for order in (
        ("add", "New", "--queue", "Backlog"),
        ("create", "Backlog", "New"),
        ("comment", "1", "Hello"),
        ("move", "1", "Done"),
        ("edit", "1", "--title", "Changed"),
    ):
        assert give(*order) == 1
        assert says in capsys.readouterr().err, order
    there = [t.name for q in QUEUES for t in board.get_ready_tasks([q])]
    assert there == ["Changed", "Fix the login", "New", "New"]
    assert [c.text for c in board.get_task("1").comments] == ["Hello"]


def test_a_move_that_cannot_be_read_afterwards_may_have_been_done(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board, whole = board_of(api), MemoryAdapter.get_task

    def get_task(self: MemoryAdapter, task_id: str) -> Task:
        task = whole(self, task_id)
        if task.queue_name == "Done":
            raise BoardUnavailableError("The board is away.")
        return task

    monkeypatch.setattr(Board, "get_task", get_task)
    assert give("move", "1", "Done") == 1
    assert "was moved to 'Done' and could not be read there" in capsys.readouterr().err
    assert [t.id for t in board.get_ready_tasks(["Done"])] == ["1"]


def test_what_is_refused_is_tried_without_the_app(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    assert give("create", "Backlog", " ") == 2
    assert "a command has imported the app" in capsys.readouterr().err
