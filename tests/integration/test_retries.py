"""Retries and dead letters, as Prefect and the board see them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore import NO_DEAD_LETTER, AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentAdapter, AgentJob
from athanore.agent_adapters.subprocess import Stream, SubprocessAgentAdapter
from athanore.models import AgentEvent, EventKind
from athanore.runs.capacity import pausing
from athanore.runs.connection.transports import prefect_client
from tests.harness import Prefect, app_name, prompt, running
from tests.support import LOCAL, wait_until


class Fails:
    """An agent that fails its first attempts."""

    def __init__(self, times: int, result: AgentResult | None = None) -> None:
        self.times = times
        self.result = result or AgentResult(
            AgentOutcome.FAILED, "exit code 2", 2, output_tail="first line\nlast line"
        )
        self.attempts: list[int] = []
        self.may_end = threading.Event()
        self.may_end.set()

    async def run(self, job: AgentJob) -> AgentResult:
        self.attempts.append(job.attempt)
        await asyncio.to_thread(self.may_end.wait, 120)
        if len(self.attempts) <= self.times:
            return self.result
        return AgentResult(AgentOutcome.SUCCEEDED)


def app(
    agent: AgentAdapter, write: Callable[[str, str], str] = prompt, **route: object
) -> AgentDispatcher:
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Failed", "Other"])
    board.create_task("Todo", "Fix it")
    dispatcher = AgentDispatcher(
        name=app_name("retry"), queue_backend=board, poll_interval=5, api_port=0
    )
    options = {"done_queue": "Done", "retry_delay": 0, **route}
    dispatcher.route("Todo", agent=agent, **options)(write)  # pyright: ignore[reportArgumentType]
    return dispatcher


def only_task(dispatcher: AgentDispatcher) -> str:
    (task,) = dispatcher.board.get_ready_tasks(["Todo"])
    return task.id


@pytest.mark.postgres
@pytest.mark.smoke
def test_a_failed_attempt_is_repeated_in_the_same_run(prefect_api: str) -> None:
    agent = Fails(times=2)
    dispatcher = app(agent, max_retries=3)
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        run = it.prefect.ended(task_id)
        assert it.place(task_id) == "Done"
        assert it.comments(task_id) == [
            "Retry 1/3: exit code 2. Moving back to source queue for retry.\nfirst line\nlast line",
            "Retry 2/3: exit code 2. Moving back to source queue for retry.\nfirst line\nlast line",
        ]
    assert agent.attempts == [1, 2, 3]
    assert run["run_count"] == 3
    assert run["empirical_policy"]["retries"] == 3
    states = it.prefect.states(run["id"])
    assert states.count("AwaitingRetry") == 2
    assert states[-1] == "Completed"


@pytest.mark.smoke
def test_an_exhausted_task_goes_to_the_dead_letter_queue(prefect_api: str) -> None:
    agent = Fails(times=9)
    dispatcher = app(agent, max_retries=1, dead_letter_queue="Failed")
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Failed")
        run = it.prefect.ended(task_id)
        assert it.comments(task_id)[-1].splitlines() == [
            "Max retries (1) exhausted. Moving to dead-letter queue.",
            "exit code 2",
            "first line",
            "last line",
        ]
    assert agent.attempts == [1, 2]
    assert (run["state_type"], run["run_count"]) == ("FAILED", 2)


@pytest.mark.nightly
def test_a_task_that_fails_again_after_a_person_put_it_back_gets_its_comment_again(
    prefect_api: str,
) -> None:
    dispatcher = app(Fails(times=2), dead_letter_queue="Failed")
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Failed")
        it.board.move_task(task_id, "Todo")
        wait_until("it has failed twice", lambda: len(it.comments(task_id)) == 2)
        it.in_queue(task_id, "Failed")
        first, second = it.comments(task_id)
    assert first == second


@pytest.mark.nightly
def test_without_retries_a_failure_is_final_and_the_task_stays(prefect_api: str) -> None:
    agent = Fails(times=1)
    dispatcher = app(agent)
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        run = it.prefect.ended(task_id)
        it.in_queue(task_id, "In Progress")
        (comment,) = wait_until("it is said", lambda: it.comments(task_id))
    assert comment.startswith(
        "Max retries (0) exhausted. No dead-letter queue configured; leaving in place."
    )
    assert run["state_type"] == "FAILED"
    assert agent.attempts == [1]


@pytest.mark.nightly
def test_a_hopeless_failure_is_not_repeated(prefect_api: str) -> None:
    agent = Fails(9, AgentResult(AgentOutcome.FAILED, "command not found: 'nope'", retryable=False))
    dispatcher = app(agent, max_retries=5, dead_letter_queue="Failed")
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Failed")
        assert "command not found: 'nope'" in it.comments(task_id)[-1]
    assert agent.attempts == [1]


@pytest.mark.nightly
def test_a_prompt_function_that_raises_fails_at_once_and_says_so(prefect_api: str) -> None:
    def broken(task_id: str, task_name: str) -> str:
        raise KeyError(f"no template for {task_name}")

    dispatcher = app(Fails(0), broken, max_retries=5, dead_letter_queue="Failed")
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Failed")
        assert (
            "prompt function raised KeyError: 'no template for Fix it'" in it.comments(task_id)[-1]
        )


def test_no_dead_letter_switches_the_global_queue_off() -> None:
    dispatcher = AgentDispatcher(dead_letter_queue="Failed", name=app_name())
    dispatcher.route("A", dead_letter_queue=None)(prompt)
    dispatcher.route("B", dead_letter_queue=NO_DEAD_LETTER)(prompt)
    assert dispatcher.routes["A"].dead_letter_queue == "Failed"
    assert dispatcher.routes["B"].dead_letter_queue is None


@pytest.mark.parametrize("outcome", [AgentOutcome.TIMED_OUT])
def test_a_timeout_is_shown_by_its_name(prefect_api: str, outcome: AgentOutcome) -> None:
    agent = Fails(9, AgentResult(outcome, "timed out"))
    dispatcher = app(agent, max_retries=1, dead_letter_queue="Failed")
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Failed")
        run = it.prefect.ended(task_id)
        assert it.comments(task_id)[0] == (
            "Retry 1/1: timed out. Moving back to source queue for retry."
        )
    assert run["state_name"] == "TimedOut"
    assert Prefect(prefect_api, dispatcher.name).runs(task_id) != []


class Costs(SubprocessAgentAdapter):
    """Takes a line such as `cost 0.75` for what the agent has cost."""

    def parse_line(self, job: AgentJob, stream: Stream, line: str) -> Iterable[AgentEvent]:
        word, _, amount = line.partition(" ")
        if word == "cost":
            return (AgentEvent(EventKind.COST, {"cost_usd": float(amount)}),)
        return super().parse_line(job, stream, line)


SLOW_TO_OBEY = """
import signal, sys, time

def end(*_):
    time.sleep(3.5)
    print("Saved my session as s-42.\\ncost 0.75", flush=True)
    sys.exit(1)

signal.signal(signal.SIGTERM, end)
print("I have changed three files.", flush=True)
time.sleep(600)
"""


@pytest.mark.nightly
def test_an_agent_that_obeys_slowly_at_its_timeout_loses_neither_last_words_nor_cost(
    prefect_api: str,
) -> None:
    dispatcher = app(Costs(), command=sys.executable, args=["-c", SLOW_TO_OBEY],
                     timeout=2, dead_letter_queue="Failed")  # fmt: skip
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Failed")
        run = it.prefect.ended(task_id)
        assert it.comments(task_id)[-1].splitlines() == [
            "Max retries (0) exhausted. Moving to dead-letter queue.",
            "timed out",
            "I have changed three files.",
            "Saved my session as s-42.",
            "cost 0.75",
        ]
        assert it.prefect.labels(run["id"])["athanore.usage.cost_usd"] == 0.75
    assert run["state_name"] == "TimedOut"


class Stalls:
    """An agent that says something, tells its cost, and nothing more."""

    async def run(self, job: AgentJob) -> AgentResult:
        job.emit(AgentEvent(EventKind.OUTPUT, {"stream": "stdout", "text": "Thinking..."}))
        job.emit(AgentEvent(EventKind.COST, {"cost_usd": 0.5}))
        await asyncio.Event().wait()
        raise AssertionError("never reached")


@pytest.mark.nightly
def test_an_agent_that_stalls_loses_neither_last_words_nor_cost(prefect_api: str) -> None:
    dispatcher = app(Stalls(), stall_timeout=2, dead_letter_queue="Failed")
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Failed")
        run = it.prefect.ended(task_id)
        assert it.comments(task_id)[-1].endswith("stalled: nothing heard for 2 s\nThinking...")
        assert it.prefect.labels(run["id"])["athanore.usage.cost_usd"] == 0.5


@pytest.mark.postgres
def test_a_route_whose_tasks_all_fail_alike_pauses_itself(prefect_api: str) -> None:
    agent = Fails(times=99)
    dispatcher = app(agent, dead_letter_queue="Failed", pause_after_failures=2)
    first = only_task(dispatcher)
    second = dispatcher.board.create_task("Todo", "Second").id
    dispatcher.settings.max_concurrent_agents = 1
    with running(dispatcher, prefect_api) as it:
        it.in_queue(first, "Failed")
        wait_until("the second is back", lambda: "paused" in "".join(it.comments(second)))
        it.in_queue(second, "Todo")
        assert it.comments(second)[0].startswith(
            "Route 'Todo' is paused: 2 tasks in a row failed alike (exit code 2)."
        )
        queue = it.prefect.get(f"/work_pools/{dispatcher.name}-agents/queues/Todo")
        assert queue["is_paused"]
        assert "failed alike" in queue["description"]
        assert "It tries again at" in queue["description"]
        (stopped,) = LOCAL.get(f"{it.api_url}/status", timeout=60).json()["paused_routes"]
        assert (stopped["queue_name"], stopped["reason"]) == ("Todo", queue["description"])
        agent.may_end.clear()
        with temporary_settings({PREFECT_API_URL: prefect_api}):
            asyncio.run(_resume(dispatcher.name))
        queue = it.prefect.get(f"/work_pools/{dispatcher.name}-agents/queues/Todo")
        assert "failed alike" not in queue["description"], "a reason ends with the pause"
        agent.may_end.set()
        # The next task fails in the same way: the route pauses again at once.
        wait_until("the third attempt", lambda: len(agent.attempts) == 3)
        wait_until("two comments", lambda: len(it.comments(second)) == 2)
        it.in_queue(second, "Todo")
    assert len(agent.attempts) == 3


@pytest.mark.postgres
@pytest.mark.nightly
def test_a_route_that_paused_itself_tries_again_by_itself(prefect_api: str) -> None:
    agent = Fails(times=1)
    dispatcher = app(agent, pause_after_failures=1, resume_after=2)
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        it.in_queue(task_id, "Done")
        assert "is paused: a task failed" in it.comments(task_id)[0]
        queue = it.prefect.get(f"/work_pools/{dispatcher.name}-agents/queues/Todo")
        assert not queue["is_paused"]
        resumed = wait_until(
            "the poll that resumed the route has ended",
            lambda: [
                r for r in it.prefect.runs(kind="poll")
                if r["name"] == "resume Todo" and r["state_type"] == "COMPLETED"
            ],
        )  # fmt: skip
        assert "resumed by itself" in resumed[0]["state"]["message"]


@pytest.mark.postgres
@pytest.mark.nightly
def test_a_route_that_a_person_paused_stays_paused(prefect_api: str) -> None:
    agent = Fails(times=1)
    dispatcher = app(agent, pause_after_failures=1, resume_after=3)
    task_id = only_task(dispatcher)
    with running(dispatcher, prefect_api) as it:
        wait_until("it has paused itself", lambda: it.comments(task_id))
        with temporary_settings({PREFECT_API_URL: prefect_api}):
            asyncio.run(_pause(dispatcher.name))
        wait_until(
            "the poll that would resume the route has ended",
            lambda: [
                r
                for r in it.prefect.runs(kind="poll")
                if r["name"] == "resume Todo" and r["end_time"]
            ],
        )
        assert it.prefect.get(f"/work_pools/{dispatcher.name}-agents/queues/Todo")["is_paused"]
        assert it.place(task_id) == "Todo"
    assert len(agent.attempts) == 1


async def _pause(app: str) -> None:
    async with prefect_client() as client:
        await pausing.pause(client, app, "Todo")


async def _resume(app: str) -> None:
    async with prefect_client() as client:
        await pausing.resume(client, app, "Todo")


def test_a_retry_in_the_prefect_ui_takes_the_task_out_of_the_dead_letters(
    prefect_api: str,
) -> None:
    """Prefect's first UI proposes the state, the second one forces it."""
    agent = Fails(times=2)
    dispatcher = app(agent, dead_letter_queue="Failed")
    task_id = only_task(dispatcher)
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    with running(dispatcher, prefect_api) as it:
        for attempt, force in ((1, False), (2, True)):
            wait_until("it was given up", lambda n=attempt: len(it.comments(task_id)) == n)
            it.in_queue(task_id, "Failed")
            run = it.prefect.ended(task_id)
            asked = {"state": state, "force": force}
            it.prefect.post(f"/flow_runs/{run['id']}/set_state", asked)
        it.in_queue(task_id, "Done")
        assert it.prefect.ended(task_id)["state_name"] == "Completed"
        first, second = it.comments(task_id)
    assert agent.attempts == [1, 2, 3]
    assert first == second and "Moving to dead-letter queue." in first
