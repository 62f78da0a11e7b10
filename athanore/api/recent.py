"""A dictionary that forgets: bounded in size and in time."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic


class Recent[K, V]:
    """Keeps the newest entries for a while.

    Args:
        size: at most so many entries; the oldest go first.
        seconds: how long an entry is kept after it was put in.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return an entry, or None if there is none or it is too old."""
        found = self._entries.get(key)
        if found is None or found[0] < monotonic():
            return None
        return found[1]

    def put(self, key: K, value: V) -> None:
        """Put an entry in, or renew it."""
        self._entries.pop(key, None)
        self._entries[key] = (monotonic() + self._seconds, value)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget an entry."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
