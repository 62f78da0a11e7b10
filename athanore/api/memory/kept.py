"""A value that is kept for a moment, for those who look again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

_FRESH_FOR_COST = 4  # times as long as it took to make


class Kept[T]:
    """A value that is read anew when it is older than so many seconds, or its key has changed.

    A value that took long to read is kept for longer. `waited` is for the reader to set: seconds of
    the reading in which nothing was done.
    """

    def __init__(self, seconds: float) -> None:
        self.waited = 0.0
        self._seconds = seconds
        self._entry: tuple[float, object, T] | None = None

    async def get(self, key: object, read: Callable[[], Awaitable[T]]) -> T:
        if self._entry is not None:
            until, known, value = self._entry
            if monotonic() < until and known == key:
                return value
        self.waited = 0.0
        began = monotonic()
        value = await read()
        cost = monotonic() - began - self.waited
        self._entry = (monotonic() + max(self._seconds, _FRESH_FOR_COST * cost), key, value)
        return value

    def forget(self) -> None:
        self._entry = None
