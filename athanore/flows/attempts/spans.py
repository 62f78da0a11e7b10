"""What the span of an attempt says of its agent, in the words of OpenTelemetry for generative AI.

Prefect makes the span of the attempt's task, and whoever has installed and configured
OpenTelemetry (`prefect[otel]`) gets it. Without that nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from opentelemetry import trace

from athanore.agent_adapters.base import Meter
from athanore.models import AgentResult

_PROVIDERS: Mapping[str, str] = MappingProxyType(
    {"claude": "anthropic", "codex": "openai", "gemini": "gcp.gemini"}
)
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "session_id": "gen_ai.conversation.id",
        "input_tokens": "gen_ai.usage.input_tokens",
        "output_tokens": "gen_ai.usage.output_tokens",
        "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
        "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
        "cost_usd": "athanore.cost_usd",
        "cost_source": "athanore.cost_source",
        "turns": "athanore.turns",
    }
)


def describe(meter: Meter, usage: Mapping[str, Any], result: AgentResult | None) -> None:
    """Say in the current span, that of the attempt, which agent worked and what it has used.

    Args:
        usage: what it has used; see `Purse.account`.
        result: how it ended; None for an agent that was stopped.
    """
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(attributes(meter, usage, result))


def attributes(
    meter: Meter, usage: Mapping[str, Any], result: AgentResult | None
) -> dict[str, str | int | float]:
    """The attributes by their names; what is not known has none."""
    said: dict[str, str | int | float] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": meter.agent,
    }
    if provider := _provider(meter):
        said["gen_ai.provider.name"] = provider
    if model := meter.model:
        said["gen_ai.request.model"] = model
    if isinstance(answered := usage.get("model"), str):
        said["gen_ai.response.model"] = answered
    known = {name: usage.get(kind) for kind, name in _KINDS.items()}
    said |= {k: v for k, v in known.items() if isinstance(v, str | int | float)}
    if result is None or not result.succeeded:
        said["error.type"] = "stopped" if result is None else result.outcome.value
    return said


def _provider(meter: Meter) -> str | None:
    """Who serves the agent, where its name or that of its model says so."""
    named = (name for name in _PROVIDERS if name in meter.agent)
    if (name := next(named, None)) is not None:
        return _PROVIDERS[name]
    provider, slash, _ = (meter.model or "").partition("/")
    return provider if slash else None
