"""What time it is for Prefect: runs are due, and states are old, by its clock and not by ours.

A worker names the moment up to which it wants runs. If its own clock is ahead, it would take polls
that Prefect then makes it wait for, for as long; if it is behind, polls and retries would be late.
So the difference is taken from the `Date` of Prefect's answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from athanore.http_client.dates import header_date
from athanore.processes.family import steady

_TOLERANCE = 10.0
"""Seconds; a smaller difference is none: the header has no parts of them, and was on its way."""


class Clock:
    """The clock of the Prefect server that an app talks to, as far as its answers tell.

    Args:
        wall: our own time of day, in seconds; what counts until Prefect has answered.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._epoch: float | None = None  # Prefect's time of day at zero of `steady`, once heard

    def now(self) -> datetime:
        """The time of day at Prefect's server; setting our clock does not change it."""
        now = self._wall() if self._epoch is None else self._epoch + steady()
        return datetime.fromtimestamp(now, UTC)

    def heard(self, date: str | None) -> None:
        """Note the `Date` header of an answer that has just come from Prefect."""
        if (theirs := header_date(date)) is not None:
            ours = self._wall()
            is_ours = abs(theirs.timestamp() - ours) <= _TOLERANCE
            self._epoch = (ours if is_ours else theirs.timestamp()) - steady()
