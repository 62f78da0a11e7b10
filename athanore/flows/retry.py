"""Waiting for a board that is away, so that what is due to it is made afterwards, in order.

A task never pays for its board: what the board refuses for now (it is away, or has taken our
access) is waited for, and a comment that it does not take is passed over.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NoReturn

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardNotWritableError,
    BoardUnavailableError,
    NotFoundError,
)
from athanore.logs import Log
from athanore.models import RetryPolicy
from athanore.runtime.boards.board import Board
from athanore.runtime.margins import Margins

_LONGEST_PAUSE = 30.0
_REFUSALS = 4


class PatientBoard:
    """A board that is waited for while it is away.

    Args:
        margins: how long a refused access is waited for, and how soon the board is asked again.
        patience: give up after this time and let the error out; None waits for ever for a board
            that is away.
        access: without patience, how long one is waited for that refuses access; by default for
            `Margins.board_access`.
    """

    def __init__(
        self,
        board: Board,
        margins: Margins,
        log: Log,
        patience: timedelta | None = None,
        access: timedelta | None = None,
    ) -> None:
        self._board = board
        self._margins = margins
        self._log = log
        self._patience = patience
        self._access = margins.board_access if access is None else access

    async def until_it_answers[T](
        self,
        operation: Callable[[], Awaitable[T]],
        *,
        look: Callable[[], Awaitable[object]] | None = None,
    ) -> T:
        """Repeat an operation until the board is there and lets us; say so once.

        Args:
            operation: what does no harm if it is done twice, like a read or a move.
            look: another read of the board. Where it works and the operation does not for
                `Margins.board_access`, the board is not away, and waiting does not help.

        Raises:
            BoardUnavailableError, AnswerLostError, BoardAccessError: patience ran out.
            BoardError: the board answered with a refusal.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        pause = first = self._margins.first_pause.total_seconds()
        refusing_since: float | None = None
        while True:
            try:
                result = await operation()
            except (BoardUnavailableError, AnswerLostError, BoardAccessError) as exc:
                limit = self._patience
                if limit is None and isinstance(exc, BoardAccessError):
                    limit = self._access
                if limit is not None and loop.time() - began + pause > limit.total_seconds():
                    raise
                if pause == first:
                    self._tell(exc)
                may_pass = not isinstance(exc, BoardAccessError)
                if may_pass and limit is None and look is not None:
                    if not await answers(look):
                        refusing_since = None
                    elif refusing_since is None:
                        refusing_since = loop.time()
                    elif loop.time() - refusing_since > self._margins.board_access.total_seconds():
                        raise refuses_this(exc) from exc
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if pause != first:
                    self._log.info("The board is back.", extra={"action": "board_back"})
                return result

    def _tell(self, error: BoardError) -> None:
        what = error.in_short if isinstance(error, BoardAccessError) else "the board is away"
        what = what[:1].upper() + what[1:]
        self._log.error("%s, waiting for it: %s", what, error, extra={"action": "board_away"})

    async def say(self, task_id: str, text: str, *, tail: str = "", once: bool = False) -> None:
        """Comment on a task; a comment that the board does not take is passed over, with a line.

        Args:
            tail: the agent's last words, which are left out if the board does not take them.
            once: not if the newest comment begins in the same way.

        Raises:
            BoardUnavailableError, AnswerLostError, BoardAccessError: patience ran out.
            NotFoundError: the task is gone.
        """
        if once:
            task = await self.until_it_answers(lambda: self._board.task(task_id))
            if task.comments and task.comments[-1].text.startswith(text):
                return
        versions = [text] if not tail.strip() else [f"{text}\n{tail}", text]
        for version in versions:
            least = self._margins.board_access if version is text else timedelta(0)
            attempt = _Comment(self._board, task_id, version, least, self._log)
            try:
                await self.until_it_answers(attempt.write)
                return
            except (BoardUnavailableError, AnswerLostError, BoardAccessError, NotFoundError):
                raise
            except BoardError as exc:
                self._log.error(
                    "The board does not take a comment on task %s: %s",
                    task_id,
                    exc,
                    extra={"action": "comment_refused"},
                )


def retry_delay(policy: RetryPolicy, attempt: int, poll_interval: timedelta) -> timedelta:
    """The time until the attempt after `attempt`: delay, backoff, cap, jitter."""
    base = poll_interval if policy.delay is None else policy.delay
    grown = base.total_seconds() * policy.backoff ** min(attempt - 1, 64)
    if policy.max_delay is not None:
        grown = min(grown, policy.max_delay.total_seconds())
    return timedelta(seconds=min(grown * (1 + random.random() * policy.jitter), 30 * 86400))


async def answers(look: Callable[[], Awaitable[object]]) -> bool:
    """Tell whether a board can be read."""
    try:
        await look()
    except BoardError:
        return False
    return True


def refuses_this(error: BoardError) -> BoardNotWritableError:
    """What to make of an error that a board that can be read answers to one thing, and goes on."""
    return BoardNotWritableError(f"The board can be read, and refuses this: {error}")


class _RefusedError(BoardError):
    """The board is there, and answers one comment with an error again and again."""


class _Comment:
    """One comment, tried until the board takes it, or refuses it although it is there.

    Args:
        least: how long it is tried at least while the board answers everything else.
    """

    def __init__(self, board: Board, task_id: str, text: str, least: timedelta, log: Log) -> None:
        self._board = board
        self._task_id = task_id
        self._text = text
        self._least = least.total_seconds()
        self._log = log
        self._refusals = 0
        self._refused_since = 0.0

    async def write(self) -> None:
        try:
            await self._board.comment(self._task_id, self._text)
        except AnswerLostError as exc:
            if exc.may_repeat:
                await self._refused(exc)
            # Else never twice; it most likely is there.
            self._log.warning(
                "A comment may be missing on task %s: %s",
                self._task_id,
                exc,
                extra={"action": "comment_in_doubt"},
            )
        except BoardUnavailableError as exc:
            await self._refused(exc)

    async def _refused(self, error: BoardError) -> NoReturn:
        await self._board.task(self._task_id)  # raises if the board is away altogether
        now = asyncio.get_running_loop().time()
        self._refused_since = self._refused_since if self._refusals else now
        self._refusals += 1
        if self._refusals >= _REFUSALS and now - self._refused_since >= self._least:
            raise _RefusedError(str(error)) from error
        raise error
