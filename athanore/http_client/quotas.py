"""How many requests an account has left, as servers tell it with their answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx

from athanore.models import Quota

LOW: Final = 0.2
"""The share of a quota below which reads that can wait are spread over the time to its reset."""

_FOR_READS: Final = 0.5
"""The share of what is left then that these reads may take; the rest is for the work itself."""


class Quotas:
    """What the last answers told; shared by all threads.

    Args:
        now: the time.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, Quota] = {}

    def note(self, told: Iterable[Quota]) -> None:
        """Remember what an answer has told."""
        with self._lock:
            for quota in told:
                self._known[quota.name] = quota

    def known(self) -> list[Quota]:
        """What is known of the time before the next reset; nothing of what was reset since."""
        now = self._now()
        with self._lock:
            return [quota for quota in self._known.values() if quota.resets_at > now]

    def between_reads(self) -> timedelta:
        """How long a read that can wait is to come after the last one, so that quotas last.

        Nothing while more than a fifth of each is left.
        """
        now = self._now()
        waits = [
            (quota.resets_at - now) / max(quota.remaining * _FOR_READS, 1)
            for quota in self.known()
            if quota.remaining < quota.limit * LOW
        ]
        return max(waits, default=timedelta(0))


def in_headers(
    response: httpx.Response, name: str, prefix: str, *, unit: timedelta = timedelta(seconds=1)
) -> Sequence[Quota]:
    """The quota in the headers `<prefix>-limit`, `-remaining` and `-reset` of an answer.

    Args:
        name: what the quota is called, for people.
        unit: of the reset, which is counted from 1970.
    """
    try:
        limit, remaining, reset = (
            float(response.headers[f"{prefix}-{part}"]) for part in ("limit", "remaining", "reset")
        )
        at = datetime.fromtimestamp(reset * unit.total_seconds(), UTC)
    except (KeyError, ValueError, OverflowError):
        return ()
    return (Quota(name, int(limit), int(remaining), at),) if limit > 0 else ()
