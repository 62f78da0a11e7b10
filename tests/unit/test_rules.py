"""The rules of a task's runs, in every case that they tell apart, on a Prefect in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, names
from athanore.errors import (
    BoardAccessError,
    BoardError,
    DispatchError,
    TaskBusyError,
    TaskNotFoundError,
)
from athanore.flows import letting_go
from athanore.flows.outcome import Conclusion
from athanore.flows.sweeping.sweep import look_once
from athanore.models import Fault, FaultKind, Task
from athanore.processes import identity
from athanore.routes import Route
from athanore.runs import store
from athanore.runs.record import Holder, Start, record_of
from athanore.runs.run_log import RunLog
from athanore.runs.states import PrefectState, StateName
from athanore.runtime.apps import App
from athanore.runtime.leases.local_runs import RunControl, StopReason
from athanore.runtime.margins import Margins
from athanore.services import runs
from tests.harness import prompt
from tests.memory_prefect import MemoryPrefect

LOG = logging.getLogger("athanore.tests")
DEAD = Holder("lost-1", f"{identity.host()}:999999999:1.00")
QUEUES = ["Todo", "Next", "In Progress", "Done", "Failed", "Cancelled", "Elsewhere"]


@pytest.fixture(autouse=True)
def no_events() -> Generator[None]:
    """Nobody hears of what the rules tell by events; Prefect would start a server for them."""
    EventsWorker.set_client_override(NullEventsClient)
    yield
    EventsWorker.set_client_override(None)


class Board(MemoryAdapter):
    """A board from which a task may be gone."""

    gone = ""
    refuses_moves: BoardError | None = None

    def move_task(self, task_id: str, target_queue: str) -> None:
        if self.refuses_moves is not None:
            raise self.refuses_moves
        super().move_task(task_id, target_queue)

    def get_task(self, task_id: str) -> Task:
        if task_id == self.gone:
            raise TaskNotFoundError(task_id)
        return super().get_task(task_id)

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        return [t for t in super().get_ready_tasks(queue_names) if t.id != self.gone]


class Site:
    """An app with two routes, a task, and what Prefect knows of it."""

    further: Sequence[str] = ("Next",)

    def __init__(self, **options: Any) -> None:
        self.client = self.prefect()
        self.board = self.queues()
        options = {"done_queue": "Done", "dead_letter_queue": "Failed", "max_retries": 2} | options
        self.dispatcher = AgentDispatcher(
            "true", queue_backend=self.board, name=f"rules-{uuid4().hex[:8]}"
        )
        self.dispatcher.route("Todo", **options)(prompt)
        for queue in self.further:
            self.dispatcher.route(queue)(prompt)
        self.app = App("run.py:dispatcher", self.dispatcher)
        for queue in self.dispatcher.routes:
            name = f"{names.AGENT_FLOW}/{names.deployment_name(self.app.name, queue)}"
            tags = [names.app_tag(self.app.name), names.route_tag(queue), names.AGENT_TAG]
            self.client.deploy(name, {"queue_name": queue, "app": "run.py:dispatcher"}, tags)
        self.task_id = self.board.create_task("Todo", "Fix it").id

    def prefect(self) -> MemoryPrefect:
        return MemoryPrefect()

    def queues(self) -> Board:
        return Board(QUEUES, user="athanore")

    @property
    def route(self) -> Route:
        return self.dispatcher.routes["Todo"]

    @property
    def place(self) -> str:
        return self.board.get_task(self.task_id).queue_name

    @property
    def comments(self) -> list[str]:
        return [c.text for c in self.board.get_task(self.task_id).comments]

    async def dispatched(self, queue: str = "Todo") -> FlowRun:
        task = replace(self.board.get_task(self.task_id), queue_name=queue)
        return await self.app.dispatching.dispatch(self.client, self.dispatcher.routes[queue], task)

    async def put(self, run: FlowRun, *states: State[Any]) -> FlowRun:
        for state in states:
            await self.client.set_flow_run_state(run.id, state, force=True)
        return await self.client.read_flow_run(run.id)

    async def noted(self, run: FlowRun, holder: Holder = DEAD) -> FlowRun:
        """The run, once its flow has said who has it."""
        assert run.state is not None
        known = record_of(run)
        start = Start(str(run.state.id), known.starts + 1, holder.process)
        begun = known.begun(start, run.run_count, holder.worker, "", "a proof")
        await self.client.update_flow_run_labels(run.id, begun.changes(run.labels))
        return await self.client.read_flow_run(run.id)

    async def at_work(self, queue: str = "In Progress") -> FlowRun:
        run = await self.put(await self.dispatched(), Pending(message=str(DEAD)), Running())
        self.board.move_task(self.task_id, queue)
        return await self.noted(run)

    def log(self, run: FlowRun) -> RunLog:
        return RunLog(self.client, run, self.route.retry)

    async def cancelled(self) -> runs.Cancellation:
        task = self.board.get_task(self.task_id)
        return await runs.cancel(self.client, self.app, task, "me", "not now")

    async def sweep(self) -> None:
        """Look after the app's runs and tasks."""
        await look_once(self.client, self.app)


PHASES: dict[str, Callable[[], list[State[Any]]]] = {
    "waiting": lambda: [],
    "retrying": lambda: [Pending(), Running(), AwaitingRetry(scheduled_time=datetime.now(UTC))],
    "pending": lambda: [Pending()],
    "working": lambda: [Pending(), Running()],
    "suspended": lambda: [Pending(), Running(), Suspended(timeout_seconds=600)],
    "cancelling": lambda: [Pending(), Running(), Cancelling(message="before")],
    "completed": lambda: [Completed()],
    "failed": lambda: [Failed()],
    "crashed": lambda: [Crashed()],
    "cancelled": lambda: [Cancelled()],
}
ENDED = ("completed", "failed", "crashed", "cancelled")
NOT_TAKEN = ("waiting", "retrying", "suspended")


@pytest.mark.parametrize("where", ["this", "other"])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_task_is_dispatched_unless_a_run_holds_it(phase: str, where: str) -> None:
    """The task is in the queue of this route; the run that there is takes this one or another."""
    site = Site()
    there = await site.dispatched("Todo" if where == "this" else "Next")
    there = await site.put(there, *PHASES[phase]())
    task = site.board.get_task(site.task_id)
    holds = phase not in ENDED and (where == "this" or phase not in NOT_TAKEN)
    busy = holds and (where == "other" or phase in ("working", "cancelling"))
    if busy:
        with pytest.raises(TaskBusyError):
            await runs.dispatch(site.client, site.app, task)
        return
    done = await runs.dispatch(site.client, site.app, task)
    assert (done.route, done.created) == ("Todo", not holds)
    assert (done.run.id == there.id) is holds
    after = await site.client.read_flow_run(there.id)
    if where == "other" and phase in NOT_TAKEN:
        assert after.state_name == StateName.SUPERSEDED
    else:
        assert after.state_type is there.state_type
    again = await runs.dispatch(site.client, site.app, task)
    assert (again.run.id, again.created) == (done.run.id, False)


@pytest.mark.parametrize(
    ("queue", "to", "expected"),
    [
        ("Todo", None, "Todo"),
        ("Todo", "Todo", "Todo"),
        ("Todo", "Next", "Next"),
        ("Elsewhere", "Next", "Next"),
        ("In Progress", "Todo", "Todo"),
        ("Elsewhere", None, DispatchError),
        ("In Progress", None, DispatchError),
    ],
)
async def test_a_dispatch_takes_the_task_to_the_route_that_was_asked_for(
    queue: str, to: str | None, expected: str | type[Exception]
) -> None:
    site = Site()
    site.board.move_task(site.task_id, queue)
    task = site.board.get_task(site.task_id)
    if not isinstance(expected, str):
        with pytest.raises(expected):
            await runs.dispatch(site.client, site.app, task, to)
        assert (site.place, site.client.runs) == (queue, {})
        return
    done = await runs.dispatch(site.client, site.app, task, to)
    assert (done.route, done.created, site.place) == (expected, True, expected)
    assert store.route_name(done.run) == expected


@pytest.mark.parametrize("phase", ["pending", "working", "cancelling"])
async def test_a_task_is_not_moved_from_under_its_agent(phase: str) -> None:
    site = Site()
    await site.put(await site.dispatched(), *PHASES[phase]())
    with pytest.raises(TaskBusyError):
        await runs.dispatch(site.client, site.app, site.board.get_task(site.task_id), "Next")
    assert site.place == "Todo"


@pytest.mark.parametrize("phase", PHASES)
async def test_a_run_is_cancelled_at_once_or_when_its_agent_is_stopped(phase: str) -> None:
    site = Site()
    run = await site.put(await site.dispatched(), *PHASES[phase]())
    if phase in ENDED:
        with pytest.raises(DispatchError):
            await site.cancelled()
        assert (await site.client.read_flow_run(run.id)).state_type is run.state_type
        return
    done = await site.cancelled()
    after = await site.client.read_flow_run(run.id)
    assert (done.run.id, done.at_once) == (run.id, phase in NOT_TAKEN)
    assert after.state_type is (StateType.CANCELLED if phase in NOT_TAKEN else StateType.CANCELLING)
    assert after.state is not None
    assert after.state.message == ("before" if phase == "cancelling" else "by me: not now")


async def test_of_two_runs_of_a_task_the_working_one_is_cancelled() -> None:
    site = Site()
    working = await site.put(await site.dispatched("Next"), Pending(), Running())
    waiting = await site.dispatched()
    await site.cancelled()
    assert (await site.client.read_flow_run(working.id)).state_type is StateType.CANCELLING
    assert (await site.client.read_flow_run(waiting.id)).state_type is StateType.SCHEDULED


@pytest.mark.parametrize("place", ["Todo", "Next", "Elsewhere", "gone"])
@pytest.mark.parametrize("phase", ["waiting", "suspended", "pending", "working"])
async def test_a_waiting_run_whose_task_has_left_is_cancelled(phase: str, place: str) -> None:
    site = Site()
    run = await site.put(await site.dispatched(), *PHASES[phase]())
    if place == "gone":
        site.board.gone = site.task_id
    elif place != "Todo":
        site.board.move_task(site.task_id, place)
    left = place != "Todo" and phase in NOT_TAKEN
    ready = [t for t in site.board.get_ready_tasks(["Todo"]) if t.queue_name == "Todo"]
    held = await runs.make_way(site.client, site.app, ready)
    done = await runs.cancel_left_behind(site.client, site.app, site.route, held)
    after = await site.client.read_flow_run(run.id)
    assert done == int(left)
    assert (after.state_name == StateName.NOTHING_TO_DO) is left


RESULTS = {
    "nothing": None,
    "succeeded": AgentResult(AgentOutcome.SUCCEEDED),
    "failed": AgentResult(AgentOutcome.FAILED, "exit code 1"),
    "timed out": AgentResult(AgentOutcome.TIMED_OUT, "timed out"),
    "hopeless": AgentResult(AgentOutcome.FAILED, "no such command", retryable=False),
}


@pytest.mark.parametrize(
    ("noted", "place", "state", "ends_in"),
    [
        ("nothing", "In Progress", PrefectState.AWAITING_RETRY, "Todo"),
        ("nothing", "Todo", PrefectState.AWAITING_RETRY, "Todo"),
        ("nothing", "Elsewhere", PrefectState.CRASHED, "Elsewhere"),
        ("succeeded", "In Progress", PrefectState.COMPLETED, "Done"),
        ("succeeded", "Next", PrefectState.COMPLETED, "Next"),
        ("failed", "In Progress", PrefectState.AWAITING_RETRY, "Todo"),
        ("failed", "Todo", PrefectState.AWAITING_RETRY, "Todo"),
        ("failed", "Elsewhere", PrefectState.FAILED, "Elsewhere"),
        ("timed out", "In Progress", PrefectState.AWAITING_RETRY, "Todo"),
        ("hopeless", "In Progress", PrefectState.FAILED, "Failed"),
        ("hopeless", "Elsewhere", PrefectState.FAILED, "Elsewhere"),
    ],
)
async def test_what_a_lost_worker_left_is_finished(
    noted: str, place: str, state: PrefectState, ends_in: str
) -> None:
    site = Site()
    run = await site.at_work(place)
    if (result := RESULTS[noted]) is not None:
        await site.log(run).ended(result)
    for _ in range(3):
        await site.sweep()
    after = await site.client.read_flow_run(run.id)
    record = record_of(after)
    assert (after.state_name, site.place) == (state, ends_in)
    counts = noted == "nothing" and place in ("In Progress", "Todo")
    assert (record.crashes, record.is_given_back) == (int(counts), counts)
    assert len(site.comments) == len(set(site.comments)), "nothing is said twice"


@pytest.mark.parametrize("crashes", [0, 1, 2, 3])
async def test_a_task_that_kills_its_workers_is_given_up(crashes: int) -> None:
    site = Site(max_crashes=2)
    run = await site.at_work()
    changed = replace(record_of(run), crashes=crashes)
    await site.client.update_flow_run_labels(run.id, changed.changes(run.labels))
    await site.sweep()
    given_up = crashes >= 2
    after = await site.client.read_flow_run(run.id)
    assert site.place == ("Failed" if given_up else "Todo")
    assert record_of(after).is_closed is given_up
    assert (after.state_type is StateType.CRASHED) is given_up


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("phase", ["pending", "working", "cancelling"])
async def test_a_run_of_a_dead_worker_does_not_stay_as_it_is(phase: str, noted: bool) -> None:
    site = Site(on_cancel="Cancelled")
    run = await site.dispatched()
    for state in PHASES[phase]():
        if state.type is StateType.PENDING:
            state.message = str(DEAD)
        run = await site.put(run, state)
        if noted and state.type is StateType.RUNNING:
            run = await site.noted(run)
            site.board.move_task(site.task_id, "In Progress")
    if phase != "pending" and not noted:
        return  # a start that has just begun is given some seconds to say who has it
    await site.sweep()
    after = await site.client.read_flow_run(run.id)
    if phase == "cancelling":
        assert (after.state_type, site.place) == (StateType.CANCELLED, "Cancelled")
    else:
        assert (after.state_name, site.place) == (PrefectState.AWAITING_RETRY, "Todo")


@pytest.mark.parametrize("state", [Failed(message="exit code 1"), Completed(), Cancelled()])
@pytest.mark.parametrize("closed", [True, False])
async def test_a_dead_letter_is_made_up_for(state: State[Any], closed: bool) -> None:
    site = Site()
    run = await site.at_work()
    run = await site.put(run, state)
    if closed:
        await site.log(run).close()
    for _ in range(2):
        await site.sweep()
    due = state.type is StateType.FAILED and not closed
    assert site.place == ("Failed" if due else "In Progress")
    assert len(site.comments) == int(due)


@pytest.mark.parametrize(
    ("noted", "opening"),
    [
        ("failed", "Max retries (2) exhausted."),
        ("hopeless", "Not retried, another attempt cannot help: no such command."),
    ],
)
async def test_a_dead_letter_says_why_there_is_no_further_attempt(noted: str, opening: str) -> None:
    site = Site()
    run, result = await site.at_work(), RESULTS[noted]
    assert result is not None
    await site.log(run).ended(result)
    await site.put(run, Failed(message=f"{result.reason}\nthe last line"))
    await site.sweep()
    (comment,) = site.comments
    rest = f"{result.reason}\nthe last line" if noted == "failed" else "the last line"
    assert comment == f"{opening} Moving to dead-letter queue.\n{rest}"


async def test_what_a_cancelled_agent_has_spent_is_kept() -> None:
    site = Site()
    log = site.log(await site.at_work())
    handle = RunControl(log.run.id, site.task_id, log.run)
    handle.stop(StopReason.CANCELLED, "why")
    parts = (site.app, site.route, log, handle, LOG)
    await letting_go.stopped(*parts, unsure=False, usage={"cost_usd": 0.5, "session_id": "s"})
    after = await site.client.read_flow_run(log.run.id)
    assert record_of(after).usage == {"cost_usd": 0.5, "session_id": "s"}


@pytest.mark.parametrize("starts", [1, 2, 3])
@pytest.mark.parametrize("place", ["In Progress", "Elsewhere", "gone"])
@pytest.mark.parametrize("noted", [k for k, v in RESULTS.items() if v is not None])
async def test_what_follows_an_attempt(noted: str, place: str, starts: int) -> None:
    """`starts`: which attempt of the three it was."""
    site = Site()
    run = await site.at_work()
    for _ in range(starts - 1):
        run = await site.noted(await site.put(run, Scheduled(), Running()))
    if place == "gone":
        site.board.gone = site.task_id
    else:
        site.board.move_task(site.task_id, place)
    result = RESULTS[noted]
    assert result is not None
    log = site.log(run)
    state = await Conclusion(site.app, site.route, log, site.task_id, LOG).ended(result)
    retried = place == "In Progress" and noted in ("failed", "timed out") and starts < 3
    if noted == "succeeded":
        expected, ends_in = StateType.COMPLETED, "Done"
    elif place == "gone":
        expected, ends_in = StateType.CANCELLED, ""
    else:
        expected = StateType.SCHEDULED if retried else StateType.FAILED
        ends_in = "Todo" if retried else "In Progress"
    assert state.type is expected
    if place != "gone":
        assert site.place == (ends_in if place == "In Progress" else place)
    if state.type is StateType.FAILED:
        assert not log.run.empirical_policy.retries, "Prefect makes no retry of it"
        assert (state.name == PrefectState.TIMED_OUT) is (noted == "timed out")
    reason = result.reason or result.outcome
    assert log.record.result == replace(result, reason=reason)
    assert log.record.living_start is not None, "the start is another process's"


@pytest.mark.parametrize("error", [BoardError("No such move."), BoardAccessError("No access.")])
@pytest.mark.parametrize("kind", [FaultKind.ENVIRONMENT, FaultKind.PROVIDER])
async def test_a_task_that_cannot_be_put_back_is_taken_from_where_it_is(
    kind: FaultKind, error: BoardError
) -> None:
    """The attempt does not count, so there is nothing to tell: the next start makes it anew."""
    site = Site()
    site.app.margins = Margins(board_access=timedelta(0), first_pause=timedelta(milliseconds=1))
    run = await site.at_work()
    result = AgentResult(AgentOutcome.FAILED, "no key", fault=Fault(kind, text="no key"))
    site.board.refuses_moves = error
    state = await Conclusion(site.app, site.route, site.log(run), site.task_id, LOG).ended(result)
    assert state.type is StateType.SCHEDULED
    run = await site.put(run, state)
    assert record_of(run).awaits_the_board
    following = site.log(await site.noted(await site.put(run, Pending(), Running())))
    assert (following.attempt, following.kept(), following.has_claimed()) == (1, None, True)


@pytest.mark.parametrize("place", ["In Progress", "Todo", "Elsewhere", "gone"])
@pytest.mark.parametrize("reason", [r for r in StopReason if r is not StopReason.TAKEN_OVER])
async def test_what_follows_a_stop(reason: StopReason, place: str) -> None:
    site = Site(on_cancel="Cancelled")
    run = await site.at_work()
    if place == "gone":
        site.board.gone = site.task_id
    else:
        site.board.move_task(site.task_id, place)
    log = site.log(run)
    state = await Conclusion(site.app, site.route, log, site.task_id, LOG).stopped(reason, "why")
    ours = place in ("In Progress", "Todo")
    given_back = reason in (
        StopReason.SHUTDOWN,
        StopReason.CUT_OFF,
        StopReason.DELETED,
        StopReason.SUSPENDED,
    )
    if given_back:
        assert state.name == (PrefectState.AWAITING_RETRY if ours else StateName.STOPPED)
    else:
        assert state.type is StateType.CANCELLED
    assert log.record.is_given_back is (given_back and ours)
    assert log.record.is_closed is not given_back
    if place == "gone":
        return
    moved = {True: "Todo", False: place}[given_back and ours]
    if place == "In Progress" and reason in (StopReason.CANCELLED, StopReason.STALLED):
        moved = "Cancelled"
    assert site.place == moved
