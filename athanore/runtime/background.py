"""Work beside the rest, which nobody waits for: an error in it is logged, and it goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any

from athanore.errors import AthanoreError

logger = logging.getLogger("athanore")

_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


async def kept_up(
    what: str,
    work: Callable[[], Awaitable[object]],
    pause: float = _PAUSE,
    now: Callable[[], float] = monotonic,
) -> None:
    """Do something until it returns, and again after an error, which is logged.

    Args:
        what: what it does, for the log: `The watch for stalls`.
        pause: seconds before it is done again; they double each time, up to a minute, and are the
            first ones again when it has gone well for longer than that.
        now: the time in seconds, for tests.
    """
    first = pause
    while True:
        began = now()
        try:
            await work()
            return
        except Exception as exc:
            if now() - began > _LONGEST_PAUSE:
                pause = first
            _tell(what, exc, pause)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _tell(what: str, error: Exception, pause: float) -> None:
    if isinstance(error, AthanoreError):
        logger.warning(
            "%s failed (%s); again in %g s.",
            what,
            error,
            pause,
            extra={"action": "background_task_failed"},
        )
    else:
        logger.error(
            "%s failed; again in %g s.",
            what,
            pause,
            exc_info=error,
            extra={"action": "background_task_failed"},
        )


def tell_failure(task: asyncio.Task[Any]) -> None:
    """Log the error that a task ended in: the done callback of a task that nobody waits for."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error(
            "%s failed.",
            task.get_name(),
            exc_info=error,
            extra={"action": "background_task_failed"},
        )


class SideTasks:
    """Tasks that nobody waits for; they are remembered while they run, so that none is collected.

    Args:
        name: what they are called in the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: set[asyncio.Task[object]] = set()

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Begin some work; an error in it is logged."""
        task = asyncio.create_task(work, name=self._name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(tell_failure)
