"""An alarm clock: when a worker looks for due runs before its next regular look."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime

_GATHER = 0.03
"""Seconds; alarms that go off that soon after one another are one."""


class Alarms:
    """Set by whoever creates a run or frees a slot; waited for by the worker.

    Args:
        now: the clock that the times are of.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._changed = asyncio.Event()
        self._rings = False
        self._times: list[datetime] = []
        self._again: datetime | None = None

    def set(self, at: datetime | None = None) -> None:
        """Have it go off now, or at a time."""
        if at is None:
            self._rings = True
        else:
            heapq.heappush(self._times, at)
        self._changed.set()

    def again(self, at: datetime | None) -> None:
        """Have it go off at a time for the next look after this one; None for none of its own.

        It replaces that of the look before: else each look between two of them would begin a
        series of its own.
        """
        self._again = at
        self._changed.set()

    async def next(self) -> None:
        """Return when it goes off."""
        while (pause := self._pause()) is None or pause > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                pass
        await asyncio.sleep(_GATHER)
        now, self._rings = self._now(), False
        if self._again is not None and self._again <= now:
            self._again = None
        while self._times and self._times[0] <= now:
            heapq.heappop(self._times)

    def _pause(self) -> float | None:
        """Seconds until it goes off, as far as is known."""
        if self._rings:
            return 0.0
        times = [*self._times[:1], *([self._again] if self._again else [])]
        return (min(times) - self._now()).total_seconds() if times else None
