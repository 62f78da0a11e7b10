"""Times as boards write them."""

from __future__ import annotations

from datetime import UTC, datetime


def time_of(value: object) -> datetime | None:
    """A time in ISO 8601; without a zone it counts as UTC, and what is no time as none."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time
