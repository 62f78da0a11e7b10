"""What time it is for Prefect: runs are due, and states are old, by its clock and not by ours.

A worker names the moment up to which it wants runs. If its own clock is ahead, it would take polls
that Prefect then makes it wait for, for as long; if it is behind, polls and retries would be late.
So the difference is taken from the `Date` of Prefect's answers.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from athanore.processes.family import steady

_TOLERANCE = 10.0
"""Seconds; a smaller difference is none: the header has no parts of them, and was on its way."""

_epoch: float | None = None  # Prefect's time of day at zero of `steady`, once we have heard it


def now() -> datetime:
    """The time of day at Prefect's server; setting our clock does not change it."""
    return datetime.fromtimestamp(time.time() if _epoch is None else _epoch + steady(), UTC)


def heard(date: str | None) -> None:
    """Note the `Date` header of an answer that has just come from Prefect."""
    global _epoch
    if (theirs := told(date)) is not None:
        ours = time.time()
        is_ours = abs(theirs.timestamp() - ours) <= _TOLERANCE
        _epoch = (ours if is_ours else theirs.timestamp()) - steady()


def told(date: str | None) -> datetime | None:
    """Read a `Date` header, which has whole seconds; None if that cannot be done."""
    try:
        return parsedate_to_datetime(date or "").astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
