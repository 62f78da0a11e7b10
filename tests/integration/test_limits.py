"""How many agents work at once, in which order, and that one task never has two."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from tests.harness import app_name, prompt, running
from tests.support import LOCAL, wait_until

pytestmark = pytest.mark.postgres


class Counts:
    """An agent that notes who works at the same time; it ends when it is let go."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.now: Counter[str] = Counter()
        self.most = 0
        self.twice = False
        self.go = threading.Event()

    async def run(self, job: AgentJob) -> AgentResult:
        self.order.append(job.task.name)
        self.now[job.task.id] += 1
        self.twice |= self.now[job.task.id] > 1
        self.most = max(self.most, sum(self.now.values()))
        try:
            while not self.go.is_set():  # noqa: ASYNC110 - a thread's event
                await asyncio.sleep(0.02)
        finally:
            self.now[job.task.id] -= 1
        return AgentResult(AgentOutcome.SUCCEEDED)


def make(agent: Counts, queues: list[str], **dispatcher: object) -> AgentDispatcher:
    board = MemoryAdapter([*queues, "In Progress", "Done"])
    return AgentDispatcher(
        name=app_name("limit"), queue_backend=board, default_agent=agent, api_port=0,
        poll_interval=5, **dispatcher,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


def test_a_task_that_comes_later_in_a_more_urgent_queue_goes_first(prefect_api: str) -> None:
    agent = Counts()
    app = make(agent, ["Low", "Normal", "Urgent"], max_concurrent_agents=1)
    app.route("Low", priority=3, done_queue="Done")(prompt)
    app.route("Normal", priority=2, done_queue="Done")(prompt)
    app.route("Urgent", priority=1, done_queue="Done")(prompt)
    app.board.create_task("Low", "first")
    with running(app, prefect_api) as it:
        wait_until("the first works", lambda: agent.order)
        waiting = [it.board.create_task(q, q).id for q in ("Low", "Normal", "Urgent")]
        wait_until("all have runs", lambda: all(it.prefect.runs(t) for t in waiting))
        agent.go.set()
        for task_id in waiting:
            it.in_queue(task_id, "Done")
        queues = it.prefect.post(f"/work_pools/{app.name}-agents/queues/filter", {})
    assert agent.order == ["first", "Urgent", "Normal", "Low"]
    assert agent.most == 1
    priorities = {q["name"]: q["priority"] for q in queues}
    assert priorities["Urgent"] < priorities["Normal"] < priorities["Low"] < priorities["default"]


@pytest.mark.smoke
def test_the_limits_hold_over_all_routes_and_for_each(prefect_api: str) -> None:
    agent = Counts()
    app = make(agent, ["A", "B"], max_concurrent_agents=3)
    app.route("A", max_concurrent=1, done_queue="Done")(prompt)
    app.route("B", done_queue="Done")(prompt)
    tasks = [app.board.create_task(q, q).id for q in "AAABBBBB"]
    with running(app, prefect_api) as it:
        wait_until("three work", lambda: sum(agent.now.values()) == 3)
        wait_until("all have runs", lambda: all(it.prefect.runs(t) for t in tasks))
        assert Counter(agent.order)["A"] <= 1
        agent.go.set()
        for task_id in tasks:
            it.in_queue(task_id, "Done")
    assert agent.most <= 3
    assert not agent.twice


def test_twenty_dispatches_at_once_beside_a_poll_give_one_agent(prefect_api: str) -> None:
    agent = Counts()
    app = make(agent, ["Todo"], max_concurrent_agents=2)
    app.route("Todo", done_queue="Done")(prompt)
    with running(app, prefect_api) as it:
        task = it.board.create_task("Todo", "Wanted")
        name = f"run-agent/{app.name}:Todo"
        deployment = it.prefect.get(f"/deployments/name/{name}")["id"]

        def by_hand(_: int) -> str:
            body = {"parameters": {"task_id": task.id}, "state": {"type": "SCHEDULED"}}
            answer = LOCAL.post(
                f"{prefect_api}/deployments/{deployment}/create_flow_run", json=body, timeout=60
            )
            return answer.json()["id"]

        with ThreadPoolExecutor(10) as pool:
            ids = list(pool.map(by_hand, range(20)))
        wait_until("an agent works", lambda: agent.order, 120)
        for run_id in ids:
            wait_until(
                "the run that was started by hand has handed over or was refused",
                lambda run_id=run_id: (
                    it.prefect.get(f"/flow_runs/{run_id}")["state_type"]
                    in ("COMPLETED", "CANCELLED")
                ),
                120,
            )
        agent.go.set()
        it.in_queue(task.id, "Done")
        assert len(it.prefect.runs(task.id)) == 1
    assert agent.order == ["Wanted"]


@pytest.mark.nightly
def test_a_limit_changed_in_prefect_takes_effect_and_loses_no_run(prefect_api: str) -> None:
    agent = Counts()
    app = make(agent, ["Todo"], max_concurrent_agents=1)
    app.route("Todo", done_queue="Done")(prompt)
    tasks = [app.board.create_task("Todo", n).id for n in "abcde"]
    pool = f"{prefect_api}/work_pools/{app.name}-agents"
    with running(app, prefect_api) as it:
        wait_until("all have runs", lambda: all(it.prefect.runs(t) for t in tasks))
        wait_until("one works", lambda: sum(agent.now.values()) == 1)
        LOCAL.patch(pool, json={"concurrency_limit": 3}, timeout=120).raise_for_status()
        wait_until("three work", lambda: sum(agent.now.values()) == 3)
        LOCAL.patch(pool, json={"concurrency_limit": 1}, timeout=120).raise_for_status()
        assert sum(agent.now.values()) == 3, "agents at work are left alone"
        agent.go.set()
        for task_id in tasks:
            it.in_queue(task_id, "Done")
        assert all(len(it.prefect.runs(t)) == 1 for t in tasks)
    assert agent.most == 3
    assert not agent.twice


@pytest.mark.smoke
def test_a_task_that_awaits_its_retry_leaves_its_slot_to_others(prefect_api: str) -> None:
    class FailsOnce(Counts):
        async def run(self, job: AgentJob) -> AgentResult:
            await super().run(job)
            if job.task.name == "first" and job.attempt == 1:
                return AgentResult(AgentOutcome.FAILED, "exit code 2")
            return AgentResult(AgentOutcome.SUCCEEDED)

    agent = FailsOnce()
    agent.go.set()
    app = make(agent, ["Todo", "Urgent"], max_concurrent_agents=1)
    app.route("Todo", priority=2, max_retries=1, retry_delay=3600, done_queue="Done")(prompt)
    app.route("Urgent", priority=1, done_queue="Done")(prompt)
    first = app.board.create_task("Todo", "first")
    with running(app, prefect_api) as it:
        wait_until("the first has failed", lambda: it.comments(first.id))
        wait_until(
            "it awaits its retry",
            lambda: it.prefect.run(first.id)["state_name"] == "AwaitingRetry",
        )
        other = LOCAL.post(
            f"{it.api_url}/tasks", json={"queue_name": "Urgent", "name": "other"}, timeout=120
        ).json()["id"]
        it.in_queue(other, "Done")
        due = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
        it.prefect.post(f"/flow_runs/{it.prefect.run(first.id)['id']}/set_state", due)
        it.in_queue(first.id, "Done")
        run = it.prefect.ended(first.id)
    assert run["run_count"] == 2
    assert agent.order == ["first", "other", "first"]
    assert agent.most == 1
