"""Waiting for a board: what is waited for, what is passed over, and what is never done twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import override

import pytest

from athanore import MemoryAdapter
from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    InvalidTaskError,
    TaskNotFoundError,
)
from athanore.flows.retry import PatientBoard
from athanore.runtime.boards.board import Board
from athanore.runtime.margins import Margins

LOG = logging.getLogger("test")


class Moody(MemoryAdapter):
    """A board with one task, which refuses comments as told."""

    def __init__(self) -> None:
        super().__init__({"Todo": ["x"]})
        self.tried: list[str] = []
        self.refuse: Callable[[str], BoardError | None] = lambda text: None

    @override
    def add_comment(self, task_id: str, text: str) -> None:
        self.tried.append(text)
        if error := self.refuse(text):
            raise error
        super().add_comment(task_id, text)

    @property
    def comments(self) -> list[str]:
        return [comment.text for comment in self.get_task("1").comments]


def patient(
    board: Moody,
    access: timedelta = timedelta(milliseconds=50),
    patience: timedelta | None = None,
) -> PatientBoard:
    """Make no long pauses."""
    margins = Margins(first_pause=timedelta(milliseconds=1), board_access=access)
    return PatientBoard(Board(board), margins, LOG, patience)


async def soon(work: Awaitable[None]) -> None:
    """What waits for ever fails."""
    await asyncio.wait_for(work, 60)


def test_last_words_that_the_board_does_not_take_are_left_out() -> None:
    board = Moody()
    board.refuse = lambda text: BoardUnavailableError("status 500") if "bad" in text else None
    asyncio.run(soon(patient(board).say("1", "Retry 1/1.", tail="bad words")))
    assert board.comments == ["Retry 1/1."]


@pytest.mark.parametrize("error", [BoardUnavailableError, InvalidTaskError, BoardError])
def test_a_comment_that_is_refused_in_every_form_is_passed_over(error: type[BoardError]) -> None:
    board = Moody()
    board.refuse = lambda text: error("no")
    asyncio.run(soon(patient(board).say("1", "Retry 1/1.", tail="words")))
    assert board.comments == []
    assert set(board.tried) == {"Retry 1/1.\nwords", "Retry 1/1."}


def test_a_comment_whose_answer_was_lost_is_never_written_twice() -> None:
    board = Moody()
    board.refuse = lambda text: AnswerLostError("lost")
    asyncio.run(soon(patient(board).say("1", "Retry 1/1.", tail="words")))
    assert board.tried == ["Retry 1/1.\nwords"]


def test_a_comment_in_doubt_is_tried_again_where_the_board_looks_for_it_first() -> None:
    board = Moody()
    errors = [AnswerLostError("lost", may_repeat=True) for _ in range(5)]
    board.refuse = lambda text: errors.pop() if errors else None
    asyncio.run(soon(patient(board, timedelta(seconds=20)).say("1", "Retry 1/1.")))
    assert (board.comments, len(board.tried)) == (["Retry 1/1."], 6)


def test_a_comment_in_doubt_is_passed_over_by_a_board_that_never_takes_it() -> None:
    board = Moody()
    board.refuse = lambda text: AnswerLostError("lost", may_repeat=True)
    asyncio.run(soon(patient(board).say("1", "Retry 1/1.", tail="words")))
    assert set(board.tried) == {"Retry 1/1.\nwords", "Retry 1/1."}


def test_who_has_no_patience_is_told_that_a_comment_is_in_doubt() -> None:
    board = Moody()
    board.refuse = lambda text: AnswerLostError("lost", may_repeat=True)
    with pytest.raises(AnswerLostError):
        asyncio.run(soon(patient(board, patience=timedelta(0)).say("1", "Given up.")))


def test_a_board_that_is_away_is_waited_for() -> None:
    board = Moody()
    errors: list[BoardError] = [BoardUnavailableError("away"), BoardAccessError("no key")]
    board.refuse = lambda text: errors.pop() if errors else None
    asyncio.run(soon(patient(board, timedelta(hours=1)).say("1", "Retry 1/1.")))
    assert board.comments == ["Retry 1/1."]


def test_a_refused_access_is_waited_for_no_longer_than_a_while() -> None:
    async def refused() -> None:
        raise BoardAccessError("no key")

    with pytest.raises(BoardAccessError):
        asyncio.run(patient(Moody()).until_it_answers(refused))


def test_a_task_that_is_gone_is_told() -> None:
    with pytest.raises(TaskNotFoundError):
        asyncio.run(patient(Moody()).say("2", "words"))


def test_once_is_not_twice() -> None:
    board = Moody()
    for _ in range(2):
        asyncio.run(patient(board).say("1", "Given up.", tail="words", once=True))
    assert board.comments == ["Given up.\nwords"]
