"""What the calls of a model have used, as the messages of the Claude CLI tell it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from athanore.texts import amount, count

type Json = dict[str, Any]

_KINDS = {
    "input_tokens": ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    "output_tokens": ("output_tokens",),
    "cache_read_tokens": ("cache_read_input_tokens",),
    "cache_write_tokens": ("cache_creation_input_tokens",),
}
_OF_MODELS = {
    "input_tokens": ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"),
    "output_tokens": ("outputTokens",),
    "cache_read_tokens": ("cacheReadInputTokens",),
    "cache_write_tokens": ("cacheCreationInputTokens",),
}


class Calls:
    """Counts the calls of one run of the CLI, while it has not said what it has spent.

    Attributes:
        turns: those of the agent itself, without its subagents'.
        used: tokens by kind; those that the model wrote only if the CLI includes partial messages.
    """

    def __init__(self) -> None:
        self.turns = 0
        self.used: dict[str, int] = {"input_tokens": 0}
        self._seen: deque[str] = deque(maxlen=64)
        self._written: dict[str, int] = {}

    def take_message(self, message: Json, body: Json) -> None:
        """Count a call once, though each content block comes as its own message."""
        identity = str(body.get("id"))
        if identity in self._seen:
            return
        self._seen.append(identity)
        for kind, more in of_usage(_object(body.get("usage"))).items():
            if kind != "output_tokens":  # that of its first moment
                self._add(kind, more)
        if not message.get("parent_tool_use_id"):
            self.turns += 1

    def take_part(self, message: Json) -> bool:
        """Follow a partial message (`stream_event`); True at the end of a call."""
        event = _object(message.get("event"))
        who = str(message.get("parent_tool_use_id") or "")
        if event.get("type") == "message_start":
            self._written[who] = 0
        if event.get("type") != "message_delta":
            return False
        written = count(_object(event.get("usage")).get("output_tokens"))
        self._add("output_tokens", max(0, written - self._written.get(who, 0)))
        self._written[who] = written
        return True

    def _add(self, kind: str, more: int) -> None:
        if more or kind in self.used:
            self.used[kind] = self.used.get(kind, 0) + more


def spent(result: Json, before: Json) -> Json:
    """What this process has spent, after its newest result; subagents are counted.

    The totals of a result (`total_cost_usd`, `modelUsage`) are those of the session: after a
    resume they hold what earlier processes spent, too. Its increment does not.

    Args:
        before: what it had spent at the result before.
    """
    increment = result.get("model_usage_since_last_result")
    if isinstance(increment, dict):
        models = [_object(m) for m in cast(Json, increment).values()]
        new = _of_models(models) | {"cost_usd": sum(amount(m.get("costUSD")) for m in models)}
        return before | {kind: (before.get(kind) or 0) + more for kind, more in new.items()}
    cost = result.get("total_cost_usd")
    totals: Json = {"cost_usd": None if cost is None else amount(cost)}
    if models := [_object(m) for m in _object(result.get("modelUsage")).values()]:
        totals |= _of_models(models)
    elif usage := _object(result.get("usage")):
        totals |= of_usage(usage)
    return totals


def of_usage(usage: Json) -> dict[str, int]:
    """Tokens by kind; those that the model read from its cache are among those that it read."""
    return _counted(_KINDS, [usage])


def _of_models(models: Sequence[Json]) -> dict[str, int]:
    return _counted(_OF_MODELS, models)


def _counted(kinds: dict[str, tuple[str, ...]], usages: Sequence[Json]) -> dict[str, int]:
    found = {k: sum(count(u.get(n)) for u in usages for n in ns) for k, ns in kinds.items()}
    return {k: n for k, n in found.items() if n or not k.startswith("cache")}


def _object(value: object) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}
