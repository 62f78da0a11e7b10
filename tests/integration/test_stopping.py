"""Cancelled, moved away, shut down, stalled: the agent stops and the task is where it should be."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from tests.harness import Running, app_name, prompt, running
from tests.support import LOCAL, wait_until


class Hangs:
    """An agent that works until it is stopped, the first so many times."""

    def __init__(self, times: int = 99) -> None:
        self.times = times
        self.started: list[int] = []
        self.stopped: list[int] = []
        self.token = ""

    async def run(self, job: AgentJob) -> AgentResult:
        self.token = job.env["ATHANORE_TOKEN"]
        self.started.append(job.attempt)
        if len(self.started) > self.times:
            return AgentResult(AgentOutcome.SUCCEEDED)
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.append(job.attempt)
        raise AssertionError("never reached")


def make(agent: Hangs, poll_interval: float = 5, **options: object) -> tuple[AgentDispatcher, str]:
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Cancelled", "Elsewhere"])
    task = board.create_task("Todo", "Fix it")
    dispatcher = AgentDispatcher(
        name=app_name("stop"), queue_backend=board, poll_interval=poll_interval, api_port=0,
        max_retries=2, shutdown_grace=0,
    )  # fmt: skip
    dispatcher.route("Todo", agent=agent, **options)(prompt)  # pyright: ignore[reportArgumentType]
    return dispatcher, task.id


@pytest.mark.smoke
def test_cancelling_the_run_in_prefect_stops_the_agent_and_leaves_the_task(
    prefect_api: str,
) -> None:
    agent = Hangs()
    dispatcher, task_id = make(agent)
    with running(dispatcher, prefect_api) as it:
        run = it.prefect.working(task_id)
        wait_until("the agent works", lambda: agent.started)
        it.prefect.cancel(run["id"])
        wait_until("the agent is stopped", lambda: agent.stopped)
        ended = it.prefect.ended(task_id)
        assert it.place(task_id) == "In Progress"
        assert it.comments(task_id) == [
            "Cancelled (by hand): agent stopped; leaving in 'In Progress'."
        ]
    assert ended["state_type"] == "CANCELLED"
    assert agent.started == [1]


@pytest.mark.nightly
def test_a_cancelled_task_goes_to_the_routes_own_queue_for_that(prefect_api: str) -> None:
    agent = Hangs()
    dispatcher, task_id = make(agent, on_cancel="Cancelled")
    with running(dispatcher, prefect_api) as it:
        run = it.prefect.working(task_id)
        wait_until("the agent works", lambda: agent.started)
        it.prefect.cancel(run["id"])
        it.in_queue(task_id, "Cancelled")


@pytest.mark.nightly
def test_a_run_cancelled_while_it_waits_is_not_started_by_the_next_poll(prefect_api: str) -> None:
    agent = Hangs()
    dispatcher, _ = make(agent, poll_interval=2, max_concurrent=1)
    with running(dispatcher, prefect_api) as it:
        wait_until("the first works", lambda: agent.started)
        second = dispatcher.board.create_task("Todo", "Waits")
        waiting = wait_until("the second has a run", lambda: it.prefect.runs(second.id))[0]
        it.prefect.cancel(waiting["id"])
        it.in_queue(second.id, "In Progress")
        assert "Cancelled before an agent started" in it.comments(second.id)[-1]
        assert len(it.prefect.runs(second.id)) == 1
    assert agent.started == [1]


@pytest.mark.smoke
def test_a_shutdown_returns_the_task_and_does_not_count_as_a_retry(prefect_api: str) -> None:
    agent = Hangs(times=1)
    dispatcher, task_id = make(agent, done_queue="Done")
    with running(dispatcher, prefect_api, keep=True) as it:
        wait_until("the agent works", lambda: agent.started)
    assert agent.stopped == [1]
    assert it.place(task_id) == "Todo"
    assert it.comments(task_id) == ["Worker is shutting down; returned to queue, attempt 1."]
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Done")
        run = it.prefect.ended(task_id)
    assert agent.started == [1, 1]
    assert len(it.prefect.runs(task_id)) == 1
    assert run["empirical_policy"]["retries"] == 3, "the start was given back"


class GivesSigns(Hangs):
    """Hangs in its first attempt; works in the next for long, and gives no more than signs."""

    async def run(self, job: AgentJob) -> AgentResult:
        if job.attempt > 1:
            for _ in range(60):
                await asyncio.sleep(0.2)
                job.alive()
        return await super().run(job)


def test_a_stalled_agent_is_stopped_and_counts_as_a_failure(prefect_api: str) -> None:
    agent = GivesSigns(times=1)
    dispatcher, task_id = make(agent, stall_timeout=8, retry_delay=0, done_queue="Done")
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Done")
        assert it.comments(task_id) == [
            "Retry 1/2: stalled: nothing heard for 8 s. Moving back to source queue for retry."
        ]
    assert agent.started == [1, 2]


@pytest.mark.nightly
def test_a_task_that_is_deleted_meanwhile_ends_its_run_in_peace(prefect_api: str) -> None:
    agent = Hangs()
    dispatcher, first = make(agent, max_concurrent=1)
    second = dispatcher.board.create_task("Todo", "Moves")
    with running(dispatcher, prefect_api) as it:
        run = it.prefect.working(first)
        wait_until("the agent works", lambda: agent.started)
        wait_until("the second waits", lambda: it.prefect.runs(second.id))
        it.board.move_task(second.id, "Elsewhere")
        it.prefect.cancel(run["id"])
        ended = it.prefect.ended(second.id)
        assert (ended["state_type"], ended["state_name"]) == ("CANCELLED", "Nothing to do")
        assert it.place(second.id) == "Elsewhere"
    assert agent.started == [1]


def test_an_agent_whose_task_a_person_moves_away_is_stopped(prefect_api: str) -> None:
    agent = Hangs()
    dispatcher, task_id = make(agent, poll_interval=2)
    with running(dispatcher, prefect_api) as it:
        it.prefect.working(task_id)
        wait_until("the agent works", lambda: agent.started)
        it.board.move_task(task_id, "Elsewhere")
        ended = it.prefect.ended(task_id)
        assert it.place(task_id) == "Elsewhere"
        assert it.comments(task_id) == ["Agent stopped: the task was moved to 'Elsewhere'."]
    assert ended["state_type"] == "CANCELLED"
    assert (agent.started, agent.stopped) == ([1], [1])


def test_an_agent_that_moves_its_task_itself_is_left_to_finish(prefect_api: str) -> None:
    agent = Hangs()
    dispatcher, task_id = make(agent, poll_interval=1)
    with running(dispatcher, prefect_api) as it:
        it.prefect.working(task_id)
        wait_until("the agent works", lambda: agent.started)
        assert move(it, task_id, agent.token).status_code == 200
        polls = it.prefect.polls_ended()
        wait_until("two more polls", lambda: it.prefect.polls_ended() >= polls + 2)
        assert agent.stopped == []
        assert it.prefect.run(task_id)["state_type"] == "RUNNING"


@pytest.mark.nightly
def test_a_person_who_moves_a_task_through_an_open_api_stops_its_agent(prefect_api: str) -> None:
    agent = Hangs()
    dispatcher, task_id = make(agent, poll_interval=1)
    with running(dispatcher, prefect_api) as it:
        it.prefect.working(task_id)
        wait_until("the agent works", lambda: agent.started)
        assert move(it, task_id).status_code == 200
        assert it.prefect.ended(task_id)["state_type"] == "CANCELLED"
        assert it.comments(task_id) == ["Agent stopped: the task was moved to 'Elsewhere'."]
    assert (agent.started, agent.stopped) == ([1], [1])


def move(it: Running, task_id: str, token: str | None = None) -> httpx.Response:
    """Move a task through the task API, as its agent or as anybody."""
    return LOCAL.post(
        f"{it.api_url}/tasks/{task_id}/move",
        json={"target_queue": "Elsewhere"},
        headers={} if token is None else {"Authorization": f"Bearer {token}"},
        timeout=120,
    )
