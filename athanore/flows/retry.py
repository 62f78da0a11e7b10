"""Waiting for a board that is away, so that what is due to it is made afterwards, in order.

A task never pays for its board: what the board refuses for now (it is away, or has taken our
access) is waited for, and a comment that it does not take is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardNotWritableError,
    BoardUnavailableError,
    NotFoundError,
)
from athanore.flows.transcript import Log
from athanore.runtime.board import Board

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_REFUSALS = 4

ACCESS_PATIENCE = timedelta(minutes=5)
"""How long a refused access is waited for: a person has to act, and may just be about to."""


async def until_board_answers[T](
    operation: Callable[[], Awaitable[T]],
    log: Log,
    patience: timedelta | None = None,
    *,
    look: Callable[[], Awaitable[object]] | None = None,
) -> T:
    """Repeat an operation of the board until the board is there and lets us; say so once.

    Args:
        operation: what does no harm if it is done twice, like a read or a move.
        patience: give up after this time and let the error out; None waits for ever for a board
            that is away, and for `ACCESS_PATIENCE` for one that refuses access.
        look: a read of the board. Where it works and the operation does not for `ACCESS_PATIENCE`,
            the board is not away, and waiting does not help.

    Raises:
        BoardUnavailableError, AnswerLostError, BoardAccessError: patience ran out.
        BoardError: the board answered with a refusal.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    pause = _FIRST_PAUSE
    refusing_since: float | None = None
    while True:
        try:
            result = await operation()
        except (BoardUnavailableError, AnswerLostError, BoardAccessError) as exc:
            refused = isinstance(exc, BoardAccessError)
            limit = (patience or ACCESS_PATIENCE) if refused else patience
            if limit is not None and loop.time() - began + pause > limit.total_seconds():
                raise
            if pause == _FIRST_PAUSE:
                what = exc.in_short if isinstance(exc, BoardAccessError) else "the board is away"
                what = what[:1].upper() + what[1:]
                log.error("%s, waiting for it: %s", what, exc, extra={"action": "board_away"})
            if isinstance(exc, BoardUnavailableError) and limit is None and look is not None:
                if not await answers(look):
                    refusing_since = None
                elif refusing_since is None:
                    refusing_since = loop.time()
                elif loop.time() - refusing_since > ACCESS_PATIENCE.total_seconds():
                    raise refuses_this(exc) from exc
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            if pause != _FIRST_PAUSE:
                log.info("The board is back.", extra={"action": "board_back"})
            return result


async def answers(look: Callable[[], Awaitable[object]]) -> bool:
    """Tell whether a board can be read."""
    try:
        await look()
    except BoardError:
        return False
    return True


def refuses_this(error: BoardError) -> BoardNotWritableError:
    """What to make of the error of a change that a board refuses again and again while it reads."""
    return BoardNotWritableError(f"The board can be read, and does not take this change: {error}")


async def say(
    board: Board,
    task_id: str,
    text: str,
    log: Log,
    *,
    tail: str = "",
    once: bool = False,
    patience: timedelta | None = None,
) -> None:
    """Comment on a task; a comment that the board does not take is passed over, with a line.

    Args:
        tail: the agent's last words, which are left out if the board does not take them.
        once: not if the newest comment begins in the same way.
        patience: see `until_board_answers`.

    Raises:
        BoardUnavailableError, BoardAccessError: patience ran out.
        NotFoundError: the task is gone.
    """
    if once:
        task = await until_board_answers(lambda: board.task(task_id), log, patience)
        if task.comments and task.comments[-1].text.startswith(text):
            return
    versions = [text] if not tail.strip() else [f"{text}\n{tail}", text]
    for version in versions:
        attempt = _Comment(board, task_id, version, log)
        try:
            await until_board_answers(attempt.write, log, patience)
            return
        except (BoardUnavailableError, BoardAccessError, NotFoundError):
            raise
        except BoardError as exc:
            log.error(
                "The board does not take a comment on task %s: %s",
                task_id,
                exc,
                extra={"action": "comment_refused"},
            )


class _RefusedError(BoardError):
    """The board is there, and answers one comment with an error again and again."""


class _Comment:
    """One comment, tried until the board takes it, or refuses it although it is there."""

    def __init__(self, board: Board, task_id: str, text: str, log: Log) -> None:
        self._board = board
        self._task_id = task_id
        self._text = text
        self._log = log
        self._refusals = 0

    async def write(self) -> None:
        try:
            await self._board.comment(self._task_id, self._text)
        except AnswerLostError as exc:  # never twice; it most likely is there
            self._log.warning(
                "A comment may be missing on task %s: %s",
                self._task_id,
                exc,
                extra={"action": "comment_in_doubt"},
            )
        except BoardUnavailableError as exc:
            await self._board.task(self._task_id)  # raises if the board is away altogether
            self._refusals += 1
            if self._refusals >= _REFUSALS:
                raise _RefusedError(str(exc)) from exc
            raise
