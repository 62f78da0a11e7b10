"""What Codex writes down of its provider's usage limits: in the rollout of each thread."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from athanore.agent_adapters.cli.preset import Noted, Reset
from athanore.agent_adapters.cli.reader import Json, obj, parse
from athanore.texts import amount, count

_WINDOWS = {300: "5-hour", 10080: "7-day"}
_FULL = 100
_NEAR = 80
"""Percent of a window from which on people are warned."""


def noted(env: Mapping[str, str], session: str) -> Noted:
    """Read what the rollout of a thread says last; its words to people have no numbers.

    Args:
        env: the environment of the agent.
        session: the id of the thread.
    """
    limits = _last_limits(env, session)
    windows = [obj(limits.get(name)) for name in ("primary", "secondary")]
    near = [_near(w) for w in windows if amount(w.get("used_percent")) >= _NEAR]
    full = [w for w in windows if amount(w.get("used_percent")) >= _FULL]
    resets = [Reset(_kind(w), at) for w in full if (at := _reset_of(w)) is not None]
    return Noted(max(resets, key=lambda reset: reset.at, default=None), near)


def _last_limits(env: Mapping[str, str], session: str) -> Json:
    home = Path(env.get("CODEX_HOME") or Path(env.get("HOME") or "/", ".codex"))
    limits: Json = {}
    for path in sorted(home.glob(f"sessions/**/rollout-*-{glob.escape(session)}.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"rate_limits"' in line:  # the last line may be cut off
                    payload = obj((parse(line) or {}).get("payload"))
                    limits = obj(payload.get("rate_limits")) or limits
    return limits


def _near(window: Json) -> Json:
    at = _reset_of(window)
    return {
        "kind": _kind(window),
        "used": min(amount(window.get("used_percent")) / 100, 1.0),
        "resets_at": None if at is None else at.isoformat(),
    }


def _kind(window: Json) -> str:
    return _WINDOWS.get(count(window.get("window_minutes")), "usage")


def _reset_of(window: Json) -> datetime | None:
    seconds = count(window.get("resets_at"))
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
