"""Budgets bind while an agent works: of an attempt, of a task, and of a route's day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.scripted import Emit, Script, ScriptedAgent, Wait
from athanore.models import AgentEvent, AgentResult, EventKind
from athanore.runtime.margins import Margins
from tests.harness import Running, app_name, prompt, running
from tests.support import LOCAL, wait_until

QUEUES = ["Todo", "Review", "In Progress", "Done", "Failed"]


def costs(dollars: float) -> Emit:
    usage = {"cost_usd": dollars, "input_tokens": 1000, "output_tokens": 0}
    return Emit(AgentEvent(EventKind.COST, usage))


class Stages:
    """Costs $3 in each stage, and never ends in the second one."""

    def __init__(self) -> None:
        self._stages = {
            "Todo": ScriptedAgent([costs(3)]),
            "Review": ScriptedAgent([costs(3), Wait()]),
        }
        self.meter = ScriptedAgent.meter

    async def run(self, job: AgentJob) -> AgentResult:
        return await self._stages[job.route.queue_name].run(job)


def app_of(
    board: MemoryAdapter, name: str, agent: ScriptedAgent | Stages, **budgets: Any
) -> AgentDispatcher:
    app = AgentDispatcher(
        name=name, queue_backend=board, api_port=0, poll_interval=1, max_retries=2,
        dead_letter_queue="Failed", default_agent=agent, max_concurrent_agents=1,
        budget_time_zone="Pacific/Auckland", **budgets,
    )  # fmt: skip
    app.route("Todo", done_queue="Review")(prompt)
    app.route("Review", done_queue="Done")(prompt)
    return app


def scripted(*steps: Emit | Wait) -> ScriptedAgent:
    script: Script = list(steps)
    return ScriptedAgent(script)


def paused(it: Running) -> dict[str, str]:
    """Why routes are paused, as `/status` says."""
    routes = LOCAL.get(f"{it.api_url}/status", timeout=120).json()["paused_routes"] or ()
    return {r["name"]: r["reason"] for r in routes}


def resumed(it: Running) -> bool:
    """Resume the route, as soon as the task API is there."""
    try:
        url = f"{it.api_url}/routes/Todo/resume"
        return LOCAL.post(url, json={}, timeout=120).is_success
    except (StopIteration, httpx.TransportError):
        return False


def test_an_agent_that_has_used_its_budget_is_stopped_and_not_retried(prefect_api: str) -> None:
    board, agent = MemoryAdapter(QUEUES), scripted(costs(1.5), costs(5.02), Wait())
    app = app_of(board, app_name("budget"), agent, max_cost_usd=5)
    task = board.create_task("Todo", "Expensive").id
    with running(app, prefect_api) as it:
        it.in_queue(task, "Failed")
        (comment,) = it.comments(task)
        assert comment == (
            "Not retried, another attempt cannot help: budget reached: $5.02 of $5.00. "
            "Moving to dead-letter queue."
        )
        assert it.prefect.ended(task)["labels"]["athanore.usage.cost_usd"] == 5.02
    assert [job.budget.cost_usd for job in agent.jobs] == [5.0]


def test_work_that_is_done_when_its_cost_is_told_counts(prefect_api: str) -> None:
    """Codex, Gemini and Qwen say what they have used at their end only."""
    board, agent = MemoryAdapter(QUEUES), scripted(costs(6))
    app = app_of(board, app_name("budget"), agent, day_max_cost_usd=5)
    task = board.create_task("Todo", "Expensive").id
    with running(app, prefect_api) as it:
        it.in_queue(task, "Review")
        assert it.prefect.ended(task)["state_type"] == "COMPLETED"


@pytest.mark.nightly
def test_a_tasks_budget_counts_its_stages(prefect_api: str) -> None:
    board = MemoryAdapter(QUEUES)
    app = app_of(board, app_name("budget"), Stages(), task_max_cost_usd=5)
    task = board.create_task("Todo", "Staged").id
    with running(app, prefect_api) as it:
        it.in_queue(task, "Failed")
        assert "budget of the task reached: $6.00 of $5.00" in it.comments(task)[-1]


@pytest.mark.nightly
def test_a_days_budget_holds_the_route_over_a_restart(prefect_api: str) -> None:
    board, name = MemoryAdapter(QUEUES), app_name("budget")
    first = board.create_task("Todo", "First").id
    agent = scripted(costs(3), costs(6), Wait())
    with running(app_of(board, name, agent, day_max_cost_usd=5), prefect_api, keep=True) as it:
        wait_until("the route waits", lambda: paused(it).get("Todo"))
        said = paused(it)["Todo"]
        assert said.startswith("Budget of the day reached: $6.00 of $5.00. It tries again at ")
        it.in_queue(first, "Todo")
        (comment,) = it.comments(first)
        assert comment.startswith("Budget of the day reached: $6.00 of $5.00; goes on at ")
        assert "00:00 Pacific/Auckland. Moving back to source queue." in comment
    second = app_of(board, name, agent, day_max_cost_usd=5)
    with running(second, prefect_api) as it:
        wait_until("it is resumed", lambda: resumed(it))
        wait_until("what was spent is still known", lambda: paused(it).get("Todo"))
    assert len(agent.jobs) == 1


@pytest.mark.nightly
def test_an_agent_at_work_books_what_it_has_used(prefect_api: str) -> None:
    board = MemoryAdapter(QUEUES)
    app = app_of(board, app_name("budget"), scripted(costs(0.25), Wait()))
    task = board.create_task("Todo", "Long").id
    with running(app, prefect_api, margins=Margins(booking=timedelta(seconds=0.2))) as it:
        run = it.prefect.working(task)
        wait_until(
            "its cost is booked",
            lambda: it.prefect.labels(run["id"]).get("athanore.usage.cost_usd") == 0.25,
        )
