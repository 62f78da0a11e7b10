"""Times in the headers of answers."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def header_date(text: str | None) -> datetime | None:
    """Read a `Date` header, which has whole seconds; None if that cannot be done."""
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
