"""A run that somebody suspends, ends, deletes or gives to another loses its agent, and no more."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, names
from athanore.agent_adapters.base import AgentJob
from athanore.cli.context import Connected
from athanore.errors import TaskBusyError
from athanore.runs.prefect_store import PrefectRunStore
from athanore.services import dead_letters, runs
from tests.harness import Running, app_name, prompt, running
from tests.support import LOCAL, wait_until


class Scripted:
    """An agent whose first starts fail, then some work until they are stopped, and then succeed."""

    def __init__(self, failures: int = 0, hangs: int = 1) -> None:
        self.failures = failures
        self.hangs = hangs
        self.started: list[int] = []
        self.stopped: list[int] = []
        self.may_end = threading.Event()
        self.may_end.set()

    async def run(self, job: AgentJob) -> AgentResult:
        self.started.append(job.attempt)
        number = len(self.started)
        if number <= self.failures:
            return AgentResult(AgentOutcome.FAILED, "exit code 1")
        if number > self.failures + self.hangs:
            return AgentResult(AgentOutcome.SUCCEEDED)
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.append(job.attempt)
            await asyncio.to_thread(self.may_end.wait)
        raise AssertionError("never reached")


def make(agent: Scripted) -> tuple[AgentDispatcher, str]:
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Failed"])
    task = board.create_task("Todo", "Fix it")
    dispatcher = AgentDispatcher(
        name=app_name("taken"), queue_backend=board, poll_interval=1, api_port=0, max_retries=3,
        shutdown_grace=0, dead_letter_queue="Failed",
    )  # fmt: skip
    dispatcher.route("Todo", agent=agent, done_queue="Done", retry_delay=0)(prompt)
    return dispatcher, task.id


def at_work(it: Running, agent: Scripted, task_id: str, starts: int = 1) -> str:
    """Wait until the agent of a start works; the id of its run."""
    wait_until("the agent works", lambda: len(agent.started) == starts)
    return it.prefect.working(task_id)["id"]


def set_state(it: Running, run_id: str, state: dict[str, Any], force: bool = False) -> None:
    """Set a run's state as Prefect's UI does."""
    answer = it.prefect.post(
        f"/flow_runs/{run_id}/set_state", {"state": {"message": "by hand"} | state, "force": force}
    )
    assert answer["status"] == "ACCEPT", answer


async def by_hand(it: Running, again: str, task_id: str) -> None:
    """Do what a command of the CLI does, in the process that has the agent."""
    app = it.app
    async with PrefectRunStore(it.prefect.url) as client:
        if again == "requeue":
            task = it.board.get_task(task_id)
            await dead_letters.requeue(Connected(client), app, task, "me", "Todo")
        else:
            await runs.dispatch(client, app, it.board.get_task(task_id), "Todo")


@pytest.mark.parametrize(
    "state",
    [
        {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True}},
        pytest.param({"type": "PAUSED", "name": "Paused"}, marks=pytest.mark.nightly),
    ],
    ids=["suspended", "paused"],
)
def test_a_suspended_run_gives_its_task_back_and_goes_on_when_it_is_resumed(
    prefect_api: str, state: dict[str, Any]
) -> None:
    agent = Scripted(failures=1)
    dispatcher, task_id = make(agent)
    with running(dispatcher, prefect_api) as it:
        run_id = at_work(it, agent, task_id, starts=2)
        set_state(it, run_id, state)
        wait_until("the agent is stopped", lambda: agent.stopped)
        it.in_queue(task_id, "Todo")
        wait_until("it can be resumed", lambda: it.prefect.states(run_id)[-1] == "Suspended")
        polls = it.prefect.polls_ended()
        wait_until("two more polls", lambda: it.prefect.polls_ended() >= polls + 2)
        assert it.place(task_id) == "Todo"
        it.prefect.post(f"/flow_runs/{run_id}/resume", {})
        it.in_queue(task_id, "Done")
        assert it.comments(task_id) == [
            "Retry 1/3: exit code 1. Moving back to source queue for retry.",
            "Its run was suspended in Prefect; returned to queue, attempt 2.",
        ]
        assert it.prefect.ended(task_id)["id"] == run_id
    assert agent.started == [1, 2, 2], "a suspension is no attempt"


@pytest.mark.nightly
def test_the_agent_of_a_deleted_run_is_stopped_and_its_task_returned(prefect_api: str) -> None:
    agent = Scripted()
    agent.may_end.clear()
    dispatcher, task_id = make(agent)
    with running(dispatcher, prefect_api) as it:
        run_id = at_work(it, agent, task_id)
        LOCAL.delete(f"{it.prefect.url}/flow_runs/{run_id}", timeout=120).raise_for_status()
        wait_until("the agent is being stopped", lambda: agent.stopped)
        try:  # Prefect knows of nobody who works on the task; this process does.
            for again in ("dispatch", "requeue"):
                with pytest.raises(TaskBusyError):
                    asyncio.run(by_hand(it, again, task_id))
            assert it.place(task_id) == "In Progress"
        finally:
            agent.may_end.set()
        it.in_queue(task_id, "Done")
        assert it.comments(task_id) == [
            "Its run was deleted in Prefect; returned to queue, attempt 1."
        ]
    assert agent.started == [1, 1]


@pytest.mark.parametrize(
    ("state", "place", "comment"),
    [
        ("COMPLETED", "In Progress", "Agent stopped: its run was set to 'Completed' in Prefect: "
         "by hand; leaving in 'In Progress'."),
        ("CANCELLED", "In Progress", "Cancelled (by hand): agent stopped; "
         "leaving in 'In Progress'."),
        ("FAILED", "Failed", "Agent stopped: its run was set to 'Failed' in Prefect: by hand. "
         "Moving to dead-letter queue."),
    ],
)  # fmt: skip
@pytest.mark.nightly
def test_a_final_state_that_a_person_set_stops_the_agent(
    prefect_api: str, state: str, place: str, comment: str
) -> None:
    agent = Scripted()
    dispatcher, task_id = make(agent)
    with running(dispatcher, prefect_api) as it:
        run_id = at_work(it, agent, task_id)
        set_state(it, run_id, {"type": state, "name": state.capitalize()}, force=True)
        wait_until("the agent is stopped", lambda: agent.stopped)
        wait_until("it is said", lambda: it.comments(task_id))
        it.in_queue(task_id, place)
        polls = it.prefect.polls_ended()
        wait_until("two more polls", lambda: it.prefect.polls_ended() >= polls + 2)
        assert (it.place(task_id), it.comments(task_id)) == (place, [comment])
    assert agent.started == [1]


def test_a_run_that_is_given_to_another_stops_its_agent_without_a_word(prefect_api: str) -> None:
    agent = Scripted()
    dispatcher, task_id = make(agent)
    with running(dispatcher, prefect_api) as it:
        run_id = at_work(it, agent, task_id)
        pool = f"/work_pools/{names.agents_pool(it.dispatcher.name)}/workers/filter"
        workers = {worker["name"] for worker in it.prefect.post(pool, {})}
        assert it.prefect.labels(run_id)["athanore.worker"] in workers
        LOCAL.patch(
            f"{it.prefect.url}/flow_runs/{run_id}/labels",
            json={"athanore.process": "another-host:1:1", "athanore.worker": "another"},
            timeout=120,
        ).raise_for_status()
        wait_until("the agent is stopped", lambda: agent.stopped)
        polls = it.prefect.polls_ended()
        wait_until("two more polls", lambda: it.prefect.polls_ended() >= polls + 2)
        assert (it.place(task_id), it.comments(task_id)) == ("In Progress", [])
    assert agent.started == [1]
