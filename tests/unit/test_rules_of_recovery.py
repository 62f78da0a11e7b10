"""What is made of what a lost worker left, in every case told apart, on a store in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import (
    Cancelled,
    Completed,
    Failed,
)

from athanore.runs.record import record_of
from athanore.runs.states import PrefectState
from tests.memory_store import no_events
from tests.rules_site import DEAD, PHASES, RESULTS, Site

__all__ = ["no_events"]


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
    after = await site.client.read_run(run.id)
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
    await site.client.add_labels(run.id, changed.changes(run.labels))
    await site.sweep()
    given_up = crashes >= 2
    after = await site.client.read_run(run.id)
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
    after = await site.client.read_run(run.id)
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
