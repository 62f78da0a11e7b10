"""A server that has refused because it is asked too often is left alone until it may be asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from athanore.errors import BoardUnavailableError

_FIRST: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(hours=1)


class RateLimit:
    """When one credential may send its next request; shared by all threads that use it.

    Args:
        server: what the server is called in messages.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, server: str, now: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._now = now
        self._lock = threading.Lock()
        self._due = float("-inf")
        self._guesses = 0

    def check(self) -> None:
        """Raise if the server must not be asked yet.

        Raises:
            BoardUnavailableError: with `retry_after`, the time that is left.
        """
        with self._lock:
            left = self._due - self._now()
        if left > 0:
            raise BoardUnavailableError(
                f"{self._server} has refused further requests for now, because this account has "
                f"sent too many (its rate limit). It is asked again in {round(left) or 1} s; "
                "nothing has to be done.",
                retry_after=timedelta(seconds=left),
            )

    def refused(self, wait: timedelta | None) -> None:
        """Note a refusal.

        Args:
            wait: how long the server asks to be left alone; None if it does not say, which is a
                minute, twice as long after each such refusal, an hour at most.
        """
        with self._lock:
            left = wait
            if left is None:
                left = min(_FIRST * (1 << self._guesses), _LONGEST)
                self._guesses = min(self._guesses + 1, 16)
            self._due = max(self._due, self._now() + left.total_seconds())

    def accepted(self) -> None:
        """Note that the server takes writes again."""
        with self._lock:
            self._guesses = 0
