"""What the Claude CLI says of its provider: calls that it tries again, and usage limits."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from athanore.agent_adapters.common.resets import reset_in
from athanore.models import Fault, FaultKind
from athanore.texts import amount

type Json = dict[str, Any]

_WINDOWS = {"five_hour": "5-hour", "seven_day": "7-day"}
_TOO_MANY_REQUESTS = 429
_LIMIT_REACHED = re.compile(
    r"You've (?:hit|reached) your (?P<kind>[\w-]+(?: [\w-]+)?) limit"
    r"|You're out of (?:usage credits|extra usage)|Your org is out of usage"
    r"|Your seat type doesn't include usage"
)
"""How the CLI begins the text of a usage limit (its `USAGE_LIMIT_ERROR_PREFIXES`)."""


def retry(message: Json) -> str | None:
    """What people are told of a call of the API that the CLI tries again (`system/api_retry`)."""
    status, cause = message.get("error_status"), str(message.get("error") or "").replace("_", " ")
    what = f"API error {status}" if status else "API error"
    text = f"{what} ({cause})" if cause else what
    delay = amount(message.get("retry_delay_ms"))
    when = f" in {delay / 1000:.0f} s" if delay else ""
    return f"{text}: retry {message.get('attempt')}/{message.get('max_retries')}{when}"


def warning(info: Json) -> str | None:
    """What people are told of a usage limit; None while nothing is near it.

    Args:
        info: the `rate_limit_info` of a `rate_limit_event`.
    """
    name = window(info)
    match info.get("status"):
        case "allowed_warning":
            used = amount(info.get("utilization"))
            share = f"{used * 100:.0f} % of the" if used else "Near the"
            return f"{share} {name} limit" + (" is used" if share != "Near the" else "")
        case "rejected":
            return f"The {name} limit is reached"
        case _:
            return None


def near(info: Json) -> Json | None:
    """What is known of a usage limit that is near; None while none is, or when it is reached."""
    if info.get("status") != "allowed_warning":
        return None
    reset = info.get("resetsAt")
    at = _epoch(reset) if isinstance(reset, int | float) else None
    return {
        "kind": window(info),
        "used": min(amount(info.get("utilization")), 1.0) or None,
        "resets_at": None if at is None else at.isoformat(),
    }


def window(info: Json) -> str:
    """The name of the limit, for people: `5-hour`, `7-day`, `7-day opus`."""
    kind = str(info.get("rateLimitType") or "usage")
    for known, name in _WINDOWS.items():
        if kind.startswith(known):
            return f"{name}{kind.removeprefix(known).replace('_', ' ')}"
    return kind.replace("_", " ")


def fault(result: Json, text: str, info: Json) -> Fault | None:
    """The usage limit that has ended a run; None if it was something else.

    The CLI has waited for a burst of requests to pass already; where the API tells a reset then,
    the CLI does not pass it on.

    Args:
        result: the last result of the CLI, which is an error of the API.
        text: its words.
        info: what the last `rate_limit_event` said; empty without one.
    """
    words = _LIMIT_REACHED.search(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    rejected = info.get("status") == "rejected"
    status = result.get("api_error_status")
    if not (words or rejected or status == _TOO_MANY_REQUESTS or "(429)" in text):
        return None
    if rejected:
        kind = window(info)
    else:
        kind = (words and words["kind"]) or ("usage" if words else "requests")
    at = info.get("resetsAt") if rejected else None
    reset = _epoch(at) if isinstance(at, int | float) else reset_in(text)
    return Fault(FaultKind.PROVIDER, retry_at=reset, text=kind)


def _epoch(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
