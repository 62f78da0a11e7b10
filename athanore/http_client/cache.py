"""A short-lived cache that loads each value once, however many threads ask for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta


class _Flight[V]:
    """One load of one value: under way, or landed and good until `expires` (monotonic seconds)."""

    def __init__(self) -> None:
        self.result: Future[V] = Future()
        self.expires: float | None = None

    def usable(self) -> bool:
        return self.expires is None or time.monotonic() < self.expires


class Cache[K, V]:
    """Values that are loaded when asked for, kept for `max_age`, and shared over threads.

    Who asks while a value is being loaded waits for that load, and shares its error too. An error
    is not kept. After `forget` and `update` nobody is given what was loaded before them.
    """

    def __init__(self, load: Callable[[K], V], max_age: timedelta) -> None:
        self._load = load
        self._max_age = max_age.total_seconds()
        self._lock = threading.Lock()
        self._flights: dict[K, _Flight[V]] = {}

    def get(self, key: K) -> V:
        """Return the value, loading it if there is none that is young enough.

        Raises:
            Exception: whatever the load raised.
        """
        with self._lock:
            flight = self._flights.get(key)
            mine = flight is None or not flight.usable()
            if flight is None or mine:
                flight = self._flights[key] = _Flight()
        if mine:
            try:
                value = self._load(key)
            except BaseException as exc:
                flight.expires = 0
                flight.result.set_exception(exc)
            else:
                flight.expires = time.monotonic() + self._max_age
                flight.result.set_result(value)
        return flight.result.result()

    def forget(self, key: K) -> None:
        """Have the next `get` load anew."""
        with self._lock:
            self._flights.pop(key, None)

    def clear(self) -> None:
        """Have the next `get` of each key load anew."""
        with self._lock:
            self._flights.clear()

    def update(self, key: K, change: Callable[[V], V]) -> None:
        """Apply our own write to the kept value, without making it any younger."""
        with self._lock:
            old = self._flights.pop(key, None)
            if old is None or old.expires is None or not old.usable():
                return
            new = self._flights[key] = _Flight[V]()
            new.expires = old.expires
            new.result.set_result(change(old.result.result()))
