"""A provider's usage limit costs no task an attempt, and holds all routes of the account."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.models import AgentEvent, EventKind, Fault, FaultKind
from tests.harness import Running, app_name, prompt, running
from tests.support import LOCAL, wait_until


class Metered:
    """An agent whose provider serves nobody for a while from its first call on."""

    def __init__(self, account: str, window: float) -> None:
        self.opens: datetime | None = None
        self.refused = 0
        self._window = timedelta(seconds=window)
        self._name = account

    def account(self, env: object) -> str:
        return self._name

    async def run(self, job: AgentJob) -> AgentResult:
        now = datetime.now(UTC)
        near = {"kind": "7-day", "used": 0.93, "resets_at": (now + timedelta(days=2)).isoformat()}
        job.emit(AgentEvent(EventKind.PROGRESS, {"text": "93 % is used", "limit": near}))
        self.opens = self.opens or now + self._window
        if now >= self.opens:
            return AgentResult(AgentOutcome.SUCCEEDED)
        self.refused += 1
        fault = Fault(FaultKind.PROVIDER, retry_at=self.opens, text="5-hour")
        return AgentResult(AgentOutcome.FAILED, "provider limit (5-hour)", fault=fault)


def app_of(agent: Metered, board: MemoryAdapter, name: str, slots: int) -> AgentDispatcher:
    app = AgentDispatcher(
        name=name, queue_backend=board, api_port=0, poll_interval=1, default_agent=agent,
        max_retries=0, dead_letter_queue="Failed", max_concurrent_agents=slots,
    )  # fmt: skip
    app.route("Todo", in_progress_queue="In Progress", done_queue="Done")(prompt)
    app.route("Later", in_progress_queue="In Progress", done_queue="Done")(prompt)
    return app


QUEUES = ["Todo", "Later", "In Progress", "Done", "Failed"]


def are_done(board: MemoryAdapter, count: int, seconds: float) -> None:
    def done() -> bool:
        return next(q.task_count for q in board.list_queues() if q.name == "Done") == count

    wait_until(f"all {count} tasks are done", done, seconds)


def test_all_routes_of_the_account_wait_and_go_on_by_themselves(prefect_api: str) -> None:
    board, name = MemoryAdapter(QUEUES), app_name("limit")
    agent = Metered(name, window=30)  # in which all that follows is looked at
    first = board.create_task("Todo", "First").id
    with running(app_of(agent, board, name, slots=1), prefect_api) as it:
        wait_until("it is told on the task", lambda: it.comments(first))
        assert paused(it) == ["Todo", "Later"]
        five, seven = LOCAL.get(f"{it.api_url}/status", timeout=120).json()["provider_limits"]
        assert (five["kind"], five["reached"], five["used"]) == ("5-hour", True, None)
        assert (seven["kind"], seven["reached"], seven["used"]) == ("7-day", False, 0.93)
        assert five["account"] == seven["account"] and name not in five["account"]
        assert five["seen_by"] == {"app": name, "route": "Todo", "host": socket.gethostname()}
        told = LOCAL.get(f"{it.api_url}/metrics", timeout=120).text
        which = f'account="{five["account"]}",kind='
        assert f'athanore_provider_limit_reached{{{which}"5-hour"}} 1.0' in told
        assert f'athanore_provider_limit_used_ratio{{{which}"7-day"}} 0.93' in told
        assert LOCAL.get(f"{it.api_url}/overview", timeout=120).json()["provider_limits"][1] == {
            k: v for k, v in seven.items() if k != "says"
        }
        for queue in ("Todo", "Later"):
            board.create_task(queue, f"Another of {queue}")
        are_done(board, 3, 240)
        assert agent.refused == 1
        (comment,) = it.comments(first)
        assert comment.startswith("Provider limit (5-hour); goes on at ")
        assert comment.endswith(" UTC. Moving back to source queue.")
        labels = it.prefect.ended(first)["labels"]
        assert (labels["athanore.start"], labels["athanore.given-back"]) == (2, 1)


class Other:
    """An agent of another account, which is never limited; it notes which tasks it has had."""

    def __init__(self) -> None:
        self.had: list[str] = []

    def account(self, env: object) -> str:
        return "other:without limits"

    async def run(self, job: AgentJob) -> AgentResult:
        self.had.append(job.task.id)
        return AgentResult(AgentOutcome.SUCCEEDED)


@pytest.mark.nightly
def test_the_fallback_agent_takes_over_until_the_reset(prefect_api: str) -> None:
    board, name = MemoryAdapter(QUEUES), app_name("fallback")
    agent, other = Metered(name, window=8), Other()
    app = AgentDispatcher(
        name=name, queue_backend=board, api_port=0, poll_interval=1, max_retries=0,
        dead_letter_queue="Failed", max_concurrent_agents=1,
    )  # fmt: skip
    app.route("Todo", done_queue="Done", agent=agent, fallback_agent=other)(prompt)
    first, second = (board.create_task("Todo", "One").id for _ in range(2))
    with running(app, prefect_api) as it:
        are_done(board, 2, 60)
        (comment,) = it.comments(first)
        assert comment.startswith("Provider limit (5-hour) until ")
        assert comment.endswith("; the fallback agent takes over. Moving back to source queue.")
        assert (sorted(other.had), agent.refused, paused(it)) == ([first, second], 1, [])
        opens = agent.opens
        assert opens is not None
        reset = opens + timedelta(seconds=6)
        wait_until("the limit has ended", lambda: datetime.now(UTC) > reset, 60)
        third = board.create_task("Todo", "One").id
        it.in_queue(third, "Done")
        assert (sorted(other.had), it.comments(third)) == ([first, second], [])


def paused(it: Running) -> list[str]:
    """The routes that wait for their provider, as `/status` says."""
    routes = LOCAL.get(f"{it.api_url}/status", timeout=120).json()["paused_routes"] or ()
    return [r["name"] for r in routes if (r["reason"] or "").startswith("Provider limit (5-hour)")]
