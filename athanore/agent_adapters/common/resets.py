"""When a usage limit is reset, out of the words of a program."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_CLOCK = re.compile(
    r"(?:resets?|try again) (?:at )?(\d{1,2})(?::(\d\d))? ?([ap])m\b(?: ?\(([\w/+-]+)\))?",
    re.IGNORECASE,
)
_DURATION = re.compile(
    r"(?:resets?|try again|retry) (?:again )?(?:in|after) (?=\d)"
    r"(?:(\d{1,3}) ?d[a-z]*,? ?)?(?:(\d{1,5}) ?h[a-z]*,? ?)?"
    r"(?:(\d{1,7}) ?m[a-z]*,? ?)?(?:(\d{1,9})(?:\.\d+)? ?s[a-z]*)?",
    re.IGNORECASE,
)


def _now() -> datetime:
    return datetime.now(UTC)


def reset_in(text: str, now: Callable[[], datetime] = _now) -> datetime | None:
    """Find when a limit is reset; None if the text does not say.

    A time of day is the next such time, in the time zone that stands behind it, else in ours:
    `resets 8:18pm (UTC)`, `try again at 8:44 PM`. A duration counts from now: `Resets in
    2h39m52s`, `Please retry in 3600s`.
    """
    if found := _DURATION.search(text):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        wait = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return now() + wait if wait else None
    found = _CLOCK.search(text)
    if found is None:
        return None
    hour, minute = int(found[1]) % 12 + 12 * (found[3].lower() == "p"), int(found[2] or 0)
    if int(found[1]) > 12 or minute > 59:
        return None
    try:
        here = now().astimezone(ZoneInfo(found[4]) if found[4] else None)
    except (ZoneInfoNotFoundError, ValueError):
        return None
    at = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if at <= here:
        at += timedelta(days=1)
    return at.astimezone(UTC)
