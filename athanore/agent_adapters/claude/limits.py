"""What the Claude CLI says of its provider: calls that it tries again, and usage limits."""

from __future__ import annotations

from typing import Any

type Json = dict[str, Any]

_WINDOWS = {"five_hour": "5-hour", "seven_day": "7-day"}


def retry(message: Json) -> str | None:
    """What people are told of a call of the API that the CLI tries again (`system/api_retry`)."""
    status, cause = message.get("error_status"), str(message.get("error") or "").replace("_", " ")
    what = f"API error {status}" if status else "API error"
    text = f"{what} ({cause})" if cause else what
    delay = message.get("retry_delay_ms")
    when = f" in {delay / 1000:.0f} s" if isinstance(delay, int | float) else ""
    return f"{text}: retry {message.get('attempt')}/{message.get('max_retries')}{when}"


def warning(info: Json) -> str | None:
    """What people are told of a usage limit; None while nothing is near it.

    Args:
        info: the `rate_limit_info` of a `rate_limit_event`.
    """
    name = window(info)
    match info.get("status"):
        case "allowed_warning":
            used = info.get("utilization")
            share = f"{used * 100:.0f} % of the" if isinstance(used, int | float) else "Near the"
            return f"{share} {name} limit" + (" is used" if share != "Near the" else "")
        case "rejected":
            return f"The {name} limit is reached"
        case _:
            return None


def window(info: Json) -> str:
    """The name of the limit, for people: `5-hour`, `7-day`, `7-day opus`."""
    kind = str(info.get("rateLimitType") or "usage")
    for known, name in _WINDOWS.items():
        if kind.startswith(known):
            return f"{name}{kind.removeprefix(known).replace('_', ' ')}"
    return kind.replace("_", " ")
