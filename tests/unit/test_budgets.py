"""Which budgets are refused, when they are used up, and when a day ends."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from athanore import AgentDispatcher, CliAgentAdapter, MemoryAdapter, PythonAgent
from athanore.agent_adapters.base import AgentAdapter, AgentJob, Meter
from athanore.budgets import Budget, Spent, midnights
from athanore.errors import ConfigurationError, RouteError
from athanore.prices import estimate
from tests.harness import prompt


def route(agent: AgentAdapter | None, command: str = "", **budgets: Any) -> None:
    app = AgentDispatcher(
        name="t", queue_backend=MemoryAdapter(["Todo"]), default_agent=agent, command=command
    )
    app.route("Todo", **budgets)(prompt)


async def work(job: AgentJob) -> None: ...


def test_a_budget_that_nobody_could_keep_is_refused() -> None:
    with pytest.raises(RouteError, match="max_cost_usd=5: nobody knows what 'my-agent' uses"):
        route(None, "bin/my-agent --fast", max_cost_usd=5)
    with pytest.raises(RouteError, match="day_max_tokens=10: nobody knows what 'work' uses"):
        route(PythonAgent(work), day_max_tokens=10)
    route(PythonAgent(work, meter=Meter("work", tokens=True)), day_max_tokens=10)
    route(CliAgentAdapter("opencode"), max_cost_usd=5, max_tokens=10)
    route(None, "bin/my-agent")


def test_dollars_of_an_agent_that_tells_tokens_need_a_model_with_a_price(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("genai_prices")
    with pytest.raises(RouteError, match=r"'codex' tells tokens, and no dollars.* name its model"):
        route(CliAgentAdapter("codex"), task_max_cost_usd=5)
    with pytest.raises(RouteError, match="'nobodys-model' has no price there"):
        route(CliAgentAdapter("codex", model="nobodys-model"), task_max_cost_usd=5)
    route(CliAgentAdapter("codex", model="gpt-5-codex"), task_max_cost_usd=5)
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(RouteError, match="install the extra 'prices'"):
        route(CliAgentAdapter("codex", model="gpt-5-codex"), task_max_cost_usd=5)


def test_a_default_of_the_dispatcher_binds_all_routes_and_one_may_say_none() -> None:
    app = AgentDispatcher(
        name="t", queue_backend=MemoryAdapter(["A", "B"]), command="my-agent", max_cost_usd=2
    )
    with pytest.raises(RouteError, match=r"max_cost_usd=2\.0"):
        app.route("A")(prompt)
    app.route("A", max_cost_usd=None)(prompt)
    app.route("B", agent=CliAgentAdapter("claude"))(prompt)
    assert [r.max_cost_usd for r in app.routes.values()] == [None, 2.0]


@pytest.mark.parametrize("wrong", [{"max_cost_usd": 0}, {"max_cost_usd": "5"}, {"max_tokens": 1.5}])
def test_a_budget_is_an_amount(wrong: dict[str, Any]) -> None:
    with pytest.raises(RouteError, match="must be"):
        route(CliAgentAdapter("claude"), **wrong)


def test_a_time_zone_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"budget_time_zone='Mars'.*Europe/Berlin"):
        AgentDispatcher(name="t", budget_time_zone="Mars")


@pytest.mark.parametrize(
    ("budget", "spent", "text"),
    [
        (Budget(5.0), Spent(4.999), ""),
        (Budget(5.0), Spent(5.02), "$5.02 of $5.00"),
        (Budget(5.0), Spent(5.02, is_estimate=True), "about $5.02 of $5.00"),
        (Budget(0.05), Spent(0.0512), "$0.0512 of $0.0500"),
        (Budget(tokens=1000), Spent(tokens=1200), "1,200 of 1,000 tokens"),
        (Budget(5.0, 1000), Spent(), ""),
    ],
)
def test_when_a_budget_is_used_up(budget: Budget, spent: Spent, text: str) -> None:
    assert budget.reached(spent) == text


def test_a_day_ends_at_midnight_of_the_time_zone() -> None:
    began, ends = midnights(datetime(2026, 10, 25, 12, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    assert (began.astimezone(UTC).hour, ends.astimezone(UTC).hour) == (22, 23), "25 hours"


def test_tokens_from_a_cache_are_cheaper() -> None:
    pytest.importorskip("genai_prices")
    usage = {"input_tokens": 100_000, "output_tokens": 1000}
    full = estimate("claude-sonnet-4-5", usage)
    cached = estimate("claude-sonnet-4-5", usage | {"cache_read_tokens": 90_000})
    assert full and cached and cached < full / 2
    assert estimate("anthropic/claude-sonnet-4-5", usage) == full
    assert estimate("nobodys-model", usage) is None
