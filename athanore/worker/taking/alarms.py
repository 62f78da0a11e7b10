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
        self._ringing = asyncio.Event()
        self._times: list[datetime] = []

    def set(self, at: datetime | None = None) -> None:
        """Have it go off now, or at a time."""
        if at is None:
            self._ringing.set()
        else:
            heapq.heappush(self._times, at)
            if self._times[0] == at:  # it is the first one now: wait for this one instead
                self._ringing.set()

    async def next(self) -> None:
        """Return when it goes off. It may do so for nothing, when an earlier time is set."""
        pause = (self._times[0] - self._now()).total_seconds() if self._times else None
        if pause is None or pause > 0:
            try:
                async with asyncio.timeout(pause):
                    await self._ringing.wait()
            except TimeoutError:
                pass
        await asyncio.sleep(_GATHER)
        self._ringing.clear()
        while self._times and self._times[0] <= self._now():
            heapq.heappop(self._times)
