"""A task is where its run has put it, whatever the code says by now, and wherever people are asked.

On a store in memory: a queue that was renamed, a queue in which tasks wait for people, and runs
that are cancelled while their task is in neither of the queues of its route.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled
from prefect.types import DateTime

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, names
from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    TaskMovedError,
)
from athanore.flows import asking
from athanore.flows.claiming import claim
from athanore.flows.ends.outcome import Conclusion
from athanore.models import Task
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Ending, Fate
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState, StateName
from athanore.runtime.apps import App
from athanore.runtime.leases.local_runs import RunControl, StopReason
from athanore.services.people import approvals
from athanore.worker.taking.offers import served_queues
from tests.asking_site import Asking
from tests.harness import prompt
from tests.memory_store import no_events
from tests.rules_site import DEAD, LOG, Site

__all__ = ["no_events"]

DOING = WAITING = "Elsewhere"
EXIT_1 = AgentResult(AgentOutcome.FAILED, "exit code 1")


def renamed(site: Site, **options: Any) -> None:
    """Have the code name another queue for tasks in progress, and the app know that."""
    newer = AgentDispatcher("true", queue_backend=site.board, name=site.dispatcher.name)
    newer.route(
        "Todo", in_progress_queue=DOING, done_queue="Done", dead_letter_queue="Failed",
        max_retries=2, **options,
    )(prompt)  # fmt: skip
    newer.route("Next", in_progress_queue=DOING)(prompt)
    site.dispatcher = newer
    site.app = App("run.py:dispatcher", newer)


async def test_an_agent_works_on_though_its_queue_was_renamed_in_the_code() -> None:
    site = Site()
    run = await site.at_work()
    renamed(site)
    with site.app.local_runs.controlled(run.id, site.task_id, run) as control:
        agent = asyncio.create_task(asyncio.Event().wait())
        following = asyncio.create_task(control.supervise(agent))
        await asyncio.sleep(0)
        assert control.at_work
        await site.sweep()
        agent.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert (await site.client.read_run(run.id)).state_type is StateType.RUNNING


async def test_the_task_of_a_lost_worker_is_found_in_the_queue_where_it_was_put() -> None:
    site = Site()
    run = await site.at_work()
    renamed(site)
    for _ in range(3):
        await site.sweep()
    after = await site.client.read_run(run.id)
    assert (after.state_name, site.place) == (PrefectState.AWAITING_RETRY, "Todo")
    assert site.comments == ["Worker lost; returned to queue, attempt 1."]


@pytest.mark.parametrize(
    ("state", "place"),
    [
        (Failed(message="exit code 1"), "Failed"),
        (Crashed(), "Todo"),
        (Cancelled(message="by me: not now"), "Cancelled"),
    ],
    ids=["failed", "crashed", "cancelled"],
)
async def test_what_is_due_is_done_in_a_queue_that_no_route_uses_any_more(
    state: State[Any], place: str
) -> None:
    site = Site(on_cancel="Cancelled")
    run = await site.at_work()
    if state.is_cancelled():  # it was waiting for the board
        await site.log(run).keep()
        run = await site.put(run, Scheduled(name=StateName.WAITING_FOR_BOARD))
    run = await site.put(run, state)
    if not state.is_cancelled():
        await site.log(run).leave()
    renamed(site, on_cancel="Cancelled")
    site.app.margins = replace(site.app.margins, recovering=timedelta(0))
    for _ in range(3):
        site.app.noted.next_look = 0
        await site.sweep()
    assert site.place == place


async def test_a_dead_letter_is_made_where_board_and_code_have_renamed_the_queue() -> None:
    site = Site()
    run = await site.put(await site.at_work(), Failed(message="exit code 1"))
    await site.log(run).leave()
    renamed(site)
    site.board.move_task(site.task_id, DOING)
    site.app.margins = replace(site.app.margins, recovering=timedelta(0))
    await site.sweep()
    assert site.place == "Failed"


# -- claiming --------------------------------------------------------------------------------------


async def claimed(site: Site, run: FlowRun, begun_in: str | None) -> Task:
    """A start of the run claims its task."""
    log = site.log(run)
    route = site.route

    async def read() -> Task:
        return site.board.get_task(site.task_id)

    return await claim(site.client, site.app, route, log, read, LOG, begun_in=begun_in)


async def test_a_start_takes_its_task_from_where_an_earlier_one_had_it() -> None:
    site = Site()
    run = await site.at_work()
    with pytest.raises(TaskMovedError):
        await claimed(site, run, None)
    assert (await claimed(site, run, "In Progress")).queue_name == "In Progress"
    renamed(site)
    assert (await claimed(site, run, "In Progress")).queue_name == DOING


async def test_an_attempt_that_failed_is_tried_again_by_the_engines_repetition() -> None:
    """Prefect could not be told how it had ended, and attempts are left."""
    site = Site()
    run = await site.at_work()
    log = site.log(run)
    await log.ended(EXIT_1)
    conclusion = Conclusion(site.app, site.route, log, site.task_id, LOG)
    log.run.empirical_policy.retry_type = "in_process"
    await site.client.set_policy(run.id, log.run.empirical_policy)
    for _ in range(2):
        state = await conclusion.repeat(EXIT_1)
        assert (state.name, site.place) == (PrefectState.AWAITING_RETRY, "Todo")
    assert len(site.comments) == 1
    state = await conclusion.repeat(EXIT_1)
    after = await site.put(await site.client.read_run(run.id), state, Pending(), Running())
    assert site.log(after).recorded() is None, "the next start has an agent"


async def test_a_repeated_success_of_which_the_board_is_not_told_is_told_later() -> None:
    site = Site()
    site.app.margins = replace(site.app.margins, board_access=timedelta(0))
    run = await site.at_work()
    log, done = site.log(run), AgentResult(AgentOutcome.SUCCEEDED)
    await log.ended(done)
    log.run.empirical_policy.retry_type = "in_process"
    await site.client.set_policy(run.id, log.run.empirical_policy)
    site.board.refuses_moves = BoardAccessError("may not move")
    state = await Conclusion(site.app, site.route, log, site.task_id, LOG).repeat(done)
    assert state.name == StateName.WAITING_FOR_BOARD
    site.board.refuses_moves = None
    after = await site.put(await site.client.read_run(run.id), state, Pending(), Running())
    later = site.log(await site.noted(after))
    assert later.recorded() is None and later.kept() is not None
    where = (site.app, site.route, later, site.task_id, LOG)
    await Conclusion(*where).deliver(done)
    assert site.place == "Done"


# -- waiting for a person --------------------------------------------------------------------------


async def lost(site: Asking) -> FlowRun:
    """The worker of the next start is lost before that has its task."""
    run = await site.put(await site.now(), Pending(message=str(DEAD)), Running())
    site.app.local_runs.forget(run.id)
    return await site.noted(run)


async def test_a_task_that_waits_for_a_person_outlives_the_worker_that_goes_on_with_it() -> None:
    site = await Asking.made(waiting_queue=WAITING)
    assert site.place == WAITING
    await site.answered()
    run = await lost(site)
    for _ in range(3):
        await site.sweep()
    after = await site.now()
    assert (after.state_name, site.place) == (PrefectState.AWAITING_RETRY, WAITING)
    run = await site.noted(await site.put(after, Pending(), Running()))
    assert site.log(run).has_claimed()
    assert (await claimed(site, run, "In Progress")).queue_name == "In Progress"
    assert await site.before_agent(run) is None, "the answer is there"


async def test_a_task_whose_worker_is_lost_as_it_is_put_aside_goes_on() -> None:
    site = await Asking.made("at work", waiting_queue=WAITING)
    log = site.open_log(await site.now())
    await log.waits(site.question.id, WAITING, {})
    site.board.move_task(site.task_id, WAITING)
    site.app.local_runs.forget(site.run.id)
    record = record_of(await site.now())
    gone = record.changes({}) | {"athanore.worker": DEAD.worker, "athanore.process": DEAD.process}
    await site.client.add_labels(site.run.id, gone)
    for _ in range(3):
        await site.sweep()
    after = await site.now()
    assert (after.state_name, site.place) == (PrefectState.AWAITING_RETRY, WAITING)


@pytest.mark.parametrize("reason", [StopReason.SHUTDOWN, StopReason.CUT_OFF])
async def test_a_worker_that_stops_leaves_a_waiting_task_to_the_next_start(
    reason: StopReason,
) -> None:
    site = await Asking.made(waiting_queue=WAITING)
    await site.answered()
    run = await site.noted(await site.put(await site.now(), Pending(), Running()))
    log = site.log(run)
    state = await Conclusion(site.app, site.route, log, site.task_id, LOG).stopped(reason, "")
    assert (state.name, site.place) == (PrefectState.AWAITING_RETRY, WAITING)
    run = await site.noted(await site.put(await site.now(), state, Pending(), Running()))
    assert site.log(run).has_claimed()


@pytest.mark.parametrize(
    ("error", "place"),
    [(BoardUnavailableError("away"), "In Progress"), (AnswerLostError("lost"), WAITING)],
)
async def test_it_is_noted_where_a_task_waits_before_it_is_moved(
    error: BoardError, place: str
) -> None:
    site = await Asking.made("at work", waiting_queue=WAITING)
    site.board.refuses_moves = error
    await site.suspended()
    assert record_of(await site.now()).place == place
    site.board.refuses_moves = None
    for _ in range(2):
        await site.sweep()
    assert await site.fate() is Fate.PENDING, "a lost move is no person's"


# -- cancelled while the task is elsewhere ---------------------------------------------------------


@pytest.mark.parametrize("on_cancel", ["Cancelled", None])
@pytest.mark.parametrize("where", ["In Progress", WAITING])
async def test_who_cancels_a_run_whose_task_is_elsewhere_has_it_put_where_it_belongs(
    where: str, on_cancel: str | None
) -> None:
    """The board had refused what was due, or a person was asked: no agent is at work."""
    site = await Asking.made(on_cancel=on_cancel, waiting_queue=WAITING)
    await site.answered()
    site.board.move_task(site.task_id, where)
    await site.cancelled()
    site.app.margins = replace(site.app.margins, recovering=timedelta(0))
    for _ in range(3):
        await site.sweep()
    assert site.place == (on_cancel or where)
    told = [c for c in site.comments if c.startswith("Cancelled (by me: not now)")]
    assert len(told) == 1, site.comments
    assert record_of(await site.now()).is_closed


async def test_a_task_that_a_person_moved_is_not_touched_when_its_run_is_cancelled() -> None:
    site = Site(on_cancel="Cancelled")
    await site.put(await site.dispatched(), Scheduled(name=StateName.WAITING_FOR_BOARD))
    site.board.move_task(site.task_id, "Done")
    await site.cancelled()
    site.app.margins = replace(site.app.margins, recovering=timedelta(0))
    for _ in range(3):
        await site.sweep()
    assert (site.place, site.comments) == ("Done", [])
    site.board.move_task(site.task_id, "In Progress")  # they do it themselves, weeks later
    site.app.noted.settled.clear()
    for _ in range(3):
        await site.sweep()
    assert (site.place, site.comments) == ("In Progress", [])


# -- rejected --------------------------------------------------------------------------------------


async def test_a_rejected_task_is_put_aside_once_the_board_takes_that() -> None:
    site = Site(approve_before="start", rejected_queue=WAITING)
    site.app.margins = replace(site.app.margins, board_access=timedelta(0))
    run = await site.at_work()
    parts = (site.client, site.app, site.route)
    gate = await approvals.gate(*parts, run, site.task_id)
    assert gate is not None
    no = Ending(
        fate=Fate.ANSWERED, at=site.app.clock.now(), answer="no", by="eve", reason="too early"
    )
    await questions.end(site.client, gate, no)
    site.board.refuses_moves = BoardAccessError("may not move")
    log = site.log(run)
    handle = RunControl(run.id, site.task_id, run)
    state = await asking.before_agent(*parts, log, handle, LOG)
    assert state is not None and state.name == PrefectState.AWAITING_RETRY
    assert not log.record.is_closed
    site.board.refuses_moves = None
    run = await site.noted(await site.put(log.run, state, Pending(), Running()))
    log = site.log(run)
    assert log.has_claimed()
    state = await asking.before_agent(*parts, log, handle, LOG)
    assert state is not None and state.name == StateName.REJECTED
    assert (site.place, log.record.is_closed) == (WAITING, True)


# -- former names, and another clock ---------------------------------------------------------------


def test_a_host_serves_the_work_queues_of_former_names_too() -> None:
    app = AgentDispatcher("true", queue_backend=MemoryAdapter(["Todo", "Mac"]))
    app.route("Todo", name="fix", was=["mend"])(prompt)
    app.route("Mac", host="macos")(prompt)
    routes = list(app.routes.values())
    assert served_queues(routes, []) == ["default", names.slug("fix"), names.slug("mend")]
    assert served_queues(routes, ["macos"]) == [], "all of them"


async def test_a_day_counts_what_ended_by_prefects_clock() -> None:
    """This host is twenty minutes ahead of Prefect."""
    site, behind = Site(), datetime.now(UTC) - timedelta(minutes=20)
    site.app.clock.heard(format_datetime(behind, usegmt=True))
    day = behind - timedelta(hours=1)

    async def spent() -> float | None:
        return (await site.app.ledger.of_day(site.client, ["Todo"], day)).cost_usd

    run = await site.at_work()
    await spent()
    log = site.log(run)
    await log.spent({"cost_usd": 0.5, "at": behind.isoformat()})
    await site.put(run, Completed())
    site.client.runs[run.id].end_time = DateTime.fromtimestamp(behind.timestamp(), UTC)
    assert await spent() == 0.5
