"""Values that are read once for all who ask, and count for a short time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from time import monotonic

from cachetools import TTLCache

MAX_AGE = timedelta(seconds=2)
"""How old an answer of the task API may be, where nothing was written meanwhile."""

_MOST = 2_000


class Remembered[K: Hashable, V]:
    """Reads a value when it is asked for, unless it was read a moment ago or is being read.

    Args:
        read: reads the value of a key. What it raises goes to all who wait, and is not kept.
        max_age: how old an answer may be, counted from the beginning of its reading.
        timer: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        read: Callable[[K], Awaitable[V]],
        max_age: timedelta,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._read = read
        self._readings: TTLCache[K, asyncio.Task[V]] = TTLCache(
            _MOST, max_age.total_seconds(), timer
        )

    async def get(self, key: K) -> V:
        """Return the value, as it was at most `max_age` ago."""
        reading = self._readings.get(key)
        if reading is None:
            reading = asyncio.create_task(self._once(key), name="shared reading")
            self._readings[key] = reading
        if reading.done():
            return reading.result()
        return await asyncio.shield(reading)

    async def _once(self, key: K) -> V:
        try:
            return await self._read(key)
        except BaseException:
            if self._readings.get(key) is asyncio.current_task():
                self.forget(key)
            raise

    def forget(self, key: K) -> None:
        """Have the value read anew: something was written just now."""
        self._readings.pop(key, None)

    def forget_all(self) -> None:
        """Have all values read anew."""
        self._readings.clear()
