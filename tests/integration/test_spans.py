"""The span of an attempt says in the words of OpenTelemetry which agent worked and what it used."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from athanore import AgentDispatcher, MemoryAdapter
from athanore.agent_adapters.base import Meter
from athanore.agent_adapters.scripted import Emit, Fail, ScriptedAgent
from athanore.flows.attempts.spans import attributes
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind
from tests.harness import app_name, prompt, running
from tests.support import wait_until

USED = {"input_tokens": 1200, "output_tokens": 30, "cost_usd": 0.25, "session_id": "s-1"}


class Claude(ScriptedAgent):
    """A scripted agent that is measured as Claude is."""

    meter = Meter("claude", cost=True, tokens=True, model="sonnet")


@pytest.mark.nightly
def test_the_span_of_each_attempt_has_what_its_agent_used(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("prefect.telemetry.run_telemetry.get_tracer", provider.get_tracer)
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    cost = AgentEvent(EventKind.COST, {**USED, "model": "claude-sonnet-4-5"})
    agent = Claude([Emit(cost), Fail("exit code 3")], [Emit(cost)])
    app = AgentDispatcher(name=app_name("span"), queue_backend=board, poll_interval=1, api_port=0)
    app.route("Todo", agent=agent, max_retries=1, retry_delay=0, done_queue="Done")(prompt)

    def ended() -> list[Any]:
        spans = exporter.get_finished_spans()
        return sorted((s for s in spans if s.name.startswith("attempt ")), key=lambda s: s.name)

    with running(app, prefect_api) as it:
        it.prefect.ended(board.create_task("Todo", "Fix it").id)
        wait_until("both attempts have a span", lambda: len(ended()) == 2)
    failed, done = ended()
    told = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "claude",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "sonnet",
        "gen_ai.response.model": "claude-sonnet-4-5",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 30,
        "athanore.cost_usd": 0.25,
    }
    assert {k: done.attributes.get(k) for k in told} == told
    assert done.attributes["prefect.run.type"] == "task"
    assert "error.type" not in done.attributes
    assert failed.attributes["error.type"] == "failed"
    assert failed.attributes["gen_ai.usage.input_tokens"] == 1200


def test_what_is_not_known_has_no_attribute() -> None:
    succeeded = AgentResult(AgentOutcome.SUCCEEDED)
    assert attributes(Meter("opencode", model="openrouter/m"), {}, succeeded) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "opencode",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": "openrouter/m",
    }
    assert attributes(Meter("mine"), {"output_tokens": 3}, None) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "mine",
        "gen_ai.usage.output_tokens": 3,
        "error.type": "stopped",
    }
