"""The claim that Athanore makes itself, on a board that has no atomic one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, override

import pytest

from athanore import MemoryAdapter, Task
from athanore.errors import AnswerLostError, BoardUnavailableError, InvalidTaskError
from athanore.queue_adapters.base import SupportsClaim, claim_task


class Plain(MemoryAdapter):
    """A board without a claim of its own, of which calls fail as told."""

    claim_task = None  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self) -> None:
        super().__init__({"Todo": ["x"], "In Progress": []}, user="eve")
        self.before_move: Callable[[], object] = lambda: None
        self.after_move: Callable[[], object] = lambda: None
        self.on_read: Callable[[Task], object] = lambda task: None
        self.on_update: Callable[[], object] = lambda: None

    @override
    def move_task(self, task_id: str, target_queue: str) -> None:
        self.before_move()
        super().move_task(task_id, target_queue)
        self.after_move()

    @override
    def get_task(self, task_id: str) -> Task:
        task = super().get_task(task_id)
        self.on_read(task)
        return task

    @override
    def update_task(
        self, task_id: str, *, assignees: Sequence[str] | None = None, **fields: Any
    ) -> Task:
        self.on_update()
        return super().update_task(task_id, assignees=assignees, **fields)


@pytest.fixture
def board() -> Plain:
    board = Plain()
    assert not isinstance(board, SupportsClaim)
    return board


def lost() -> None:
    raise AnswerLostError("lost")


def claim(board: Plain) -> Task:
    return claim_task(board, "1", source_queue="Todo", target_queue="In Progress")


def test_a_move_whose_answer_was_lost_is_read_back(board: Plain) -> None:
    board.after_move = lost
    task = claim(board)
    assert (task.queue_name, task.assignees) == ("In Progress", ("eve",))


def test_a_move_that_was_not_made_is_in_doubt(board: Plain) -> None:
    board.before_move = lost
    with pytest.raises(AnswerLostError):
        claim(board)


def test_a_claimed_task_that_cannot_be_read_is_no_task_of_which_nothing_was_changed(
    board: Plain,
) -> None:
    def away(task: Task) -> None:
        if task.queue_name == "In Progress":
            raise BoardUnavailableError("away")

    board.on_read = away
    with pytest.raises(AnswerLostError, match="'In Progress'"):
        claim(board)


def test_an_assignment_that_is_refused_does_not_undo_the_claim(board: Plain) -> None:
    def refuse() -> None:
        raise InvalidTaskError("nobody is called so")

    board.on_update = refuse
    assert claim(board).queue_name == "In Progress"
