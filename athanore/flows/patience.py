"""Waiting for a board that is away, so that what is due to it is made afterwards, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from athanore.errors import BoardUnavailableError
from athanore.flows.transcript import Log

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


async def until_board_answers[T](
    operation: Callable[[], Awaitable[T]], log: Log, patience: timedelta | None = None
) -> T:
    """Repeat an operation of the board until the board is there; say so once.

    Args:
        patience: give up after this time and let the error out; None waits for ever.

    Raises:
        BoardUnavailableError: patience ran out.
        BoardError: the board answered with a refusal.
    """
    loop = asyncio.get_running_loop()
    deadline = None if patience is None else loop.time() + patience.total_seconds()
    pause = _FIRST_PAUSE
    while True:
        try:
            result = await operation()
        except BoardUnavailableError as exc:
            if deadline is not None and loop.time() + pause > deadline:
                raise
            if pause == _FIRST_PAUSE:
                log.error("The board is away, waiting for it: %s", exc)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            if pause != _FIRST_PAUSE:
                log.info("The board is back.")
            return result
