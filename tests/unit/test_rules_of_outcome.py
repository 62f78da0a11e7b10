"""What follows an attempt and a stop, in every case that is told apart, on a store in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import (
    Pending,
    Running,
    Scheduled,
)

from athanore import AgentOutcome, AgentResult
from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
)
from athanore.flows.ends import letting_go
from athanore.flows.ends.outcome import Conclusion
from athanore.models import Fault, FaultKind
from athanore.runs.capacity import pausing
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState, StateName
from athanore.runtime.leases.local_runs import RunControl, StopReason
from athanore.runtime.margins import Margins
from tests.memory_store import no_events
from tests.rules_site import LOG, RESULTS, Site

__all__ = ["no_events"]


async def test_what_a_cancelled_agent_has_spent_is_kept() -> None:
    site = Site()
    log = site.log(await site.at_work())
    handle = RunControl(log.run.id, site.task_id, log.run)
    handle.stop(StopReason.CANCELLED, "why")
    parts = (site.app, site.route, log, handle, LOG)
    await letting_go.stopped(*parts, unsure=False, usage={"cost_usd": 0.5, "session_id": "s"})
    after = await site.client.read_run(log.run.id)
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


_NO_KEY = AgentResult(
    AgentOutcome.FAILED, "no key", fault=Fault(FaultKind.ENVIRONMENT, text="no key")
)


@pytest.mark.parametrize("error", [BoardError("Not now."), BoardAccessError("No access.")])
async def test_what_does_not_count_is_told_later_and_not_made_anew(error: BoardError) -> None:
    site = Site()
    site.app.margins = Margins(board_access=timedelta(0), first_pause=timedelta(milliseconds=1))
    run = await site.at_work()
    site.board.refuses_reads = error
    state = await Conclusion(site.app, site.route, site.log(run), site.task_id, LOG).ended(_NO_KEY)
    assert state.name == StateName.WAITING_FOR_BOARD
    site.board.refuses_reads = None
    await pausing.resume(site.client, site.app.name, "Todo")
    following = site.log(await site.noted(await site.put(run, state, Pending(), Running())))
    kept = following.kept()
    assert kept is not None and kept == _NO_KEY
    state = await Conclusion(site.app, site.route, following, site.task_id, LOG).deliver(kept)
    assert (state.name, site.place) == (PrefectState.AWAITING_RETRY, "Todo")
    assert "'Todo' is paused" in site.comments[-1]
    assert await pausing.paused_parts(site.client, site.app.name, "Todo")
    last = site.log(await site.noted(await site.put(run, state, Pending(), Running())))
    assert (last.attempt, last.kept(), last.has_claimed()) == (1, None, False)


@pytest.mark.parametrize("result", [_NO_KEY, AgentResult(AgentOutcome.FAILED, "exit code 1")])
async def test_a_route_that_a_person_has_resumed_is_not_paused_again_by_an_old_result(
    result: AgentResult,
) -> None:
    """The route was paused for it, and only the task's way back was refused."""
    site = Site(pause_after_failures=1)
    site.app.margins = Margins(board_access=timedelta(0), first_pause=timedelta(milliseconds=1))
    run = await site.at_work()
    site.board.refuses_moves = BoardAccessError("No access.")
    state = await Conclusion(site.app, site.route, site.log(run), site.task_id, LOG).ended(result)
    assert await pausing.paused_parts(site.client, site.app.name, "Todo")
    assert state.name == PrefectState.AWAITING_RETRY
    following = site.log(await site.noted(await site.put(run, state, Pending(), Running())))
    assert (following.attempt, following.kept(), following.has_claimed()) == (1, None, True)


def impatient(**options: Any) -> Site:
    """A site that waits for a board that refuses something for a moment only."""
    site = Site(**options)
    site.app.margins = Margins(
        board_access=timedelta(milliseconds=30), first_pause=timedelta(milliseconds=1)
    )
    return site


_SUCCESS = AgentResult(AgentOutcome.SUCCEEDED)


@pytest.mark.parametrize("of", ["moves", "reads"])
@pytest.mark.parametrize("error", [BoardUnavailableError("500"), AnswerLostError("500")])
async def test_a_task_that_its_board_can_do_nothing_with_keeps_no_slot(
    of: str, error: BoardError
) -> None:
    """All else is answered, so it is not the board that is away."""
    site = impatient()
    run = await site.at_work()
    setattr(site.board, f"refuses_{of}", error)
    conclusion = Conclusion(site.app, site.route, site.log(run), site.task_id, LOG)
    state = await asyncio.wait_for(conclusion.ended(_SUCCESS), 30)
    assert state.name == StateName.WAITING_FOR_BOARD
    assert "The board can be read, and refuses this: 500" in str(state.message)


@pytest.mark.parametrize("how", ["new", "others are taken", "others are told", "again"])
async def test_a_refusal_of_one_task_alone_pauses_no_route(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = impatient(resume_after=600)
    if how.startswith("others"):
        site.app.margins = replace(site.app.margins, board_access=timedelta(seconds=1))
    run, move = await site.at_work(), site.board.move_task

    def move_task(task_id: str, target_queue: str) -> None:
        if task_id == site.task_id:
            raise BoardAccessError("This card may not be moved.")
        move(task_id, target_queue)

    monkeypatch.setattr(site.board, "move_task", move_task)
    log = site.log(run)
    conclusion = Conclusion(site.app, site.route, log, site.task_id, LOG)
    end = conclusion.ended
    if how == "again":
        state = await end(_SUCCESS)
        await pausing.resume(site.client, site.app.name, "Todo")
        run = await site.put(run, state, Pending(), Running())
        # Made before the start has said who it is, as it is in a run.
        end = Conclusion(site.app, site.route, site.log(run), site.task_id, LOG).deliver
    other = site.board.create_task("Elsewhere", "Another").id

    async def goes_on() -> None:
        while True:
            if how == "others are taken":
                await site.app.board.move(other, "Done")
            else:
                await site.app.board.comment(other, "Retry 1/2.")

    work = asyncio.create_task(goes_on()) if how.startswith("others") else None
    began = site.app.clock.now()
    state = await end(_SUCCESS)
    if work is not None:
        work.cancel()
    assert state.name == StateName.WAITING_FOR_BOARD
    due, is_paused = state.state_details.scheduled_time, how in ("new", "others are told")
    assert bool(await pausing.paused_parts(site.client, site.app.name, "Todo")) is is_paused
    assert due is not None and (due >= began + timedelta(seconds=590)) is not is_paused


_ENDED_OTHERWISE = (StopReason.TAKEN_OVER, StopReason.TIMED_OUT)
"""Somebody else has the run then, or the attempt has an end of its own."""

_BY_A_PERSON_OR_US = (StopReason.CANCELLED, StopReason.STALLED, StopReason.BUDGET)


@pytest.mark.parametrize("place", ["In Progress", "Todo", "Elsewhere", "gone"])
@pytest.mark.parametrize("reason", [r for r in StopReason if r not in _ENDED_OTHERWISE])
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
    if place == "In Progress" and reason in _BY_A_PERSON_OR_US:
        moved = "Cancelled"
    assert site.place == moved
