"""What is made of what a lost worker left, in every case told apart, on a store in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Failed,
    Pending,
    Running,
)

from athanore.flows.sweeping.recovery import Recovery
from athanore.runs import store
from athanore.runs.port import Answer
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState, StateName
from athanore.services import dead_letters
from tests.memory_store import MemoryRunStore, no_events
from tests.rules_site import DEAD, LOG, PHASES, RESULTS, Site

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


class Together(MemoryRunStore):
    """Two hosts have seen a run in the same state before either has changed it."""

    def __init__(self) -> None:
        super().__init__()
        self.both = asyncio.Barrier(2)

    async def propose(self, run_id: UUID, state: State[Any]) -> Answer:
        await self.both.wait()
        return await super().propose(run_id, state)


class Twice(Site):
    """A site that two hosts look after at once."""

    def prefect(self) -> MemoryRunStore:
        return Together()


@pytest.mark.parametrize("phase", ["working", "cancelling"])
@pytest.mark.parametrize("on_cancel", [None, "Cancelled"])
async def test_two_hosts_that_recover_a_run_leave_one_comment_and_one_move(
    phase: str, on_cancel: str | None
) -> None:
    site = Twice(on_cancel=on_cancel)
    run = await site.at_work()
    if phase == "cancelling":
        run = await site.put(run, Cancelling(message="by me"))
    recoveries = [Recovery(site.client, site.app, site.route, LOG) for _ in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(r.recover(run, site.task_id) for r in recoveries))
    assert len(site.comments) == 1
    assert site.place == ("Todo" if phase == "working" else on_cancel or "In Progress")
    assert record_of(await site.client.read_run(run.id)).crashes == int(phase == "working")


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


async def test_a_dead_letter_is_told_by_the_run_that_failed() -> None:
    """A slow poll may have made another run meanwhile, which found nothing to do."""
    site = Site()
    failed = await site.put(await site.dispatched(), *PHASES["working"](), Failed(message="exit 7"))
    nothing = Cancelled(name=StateName.NOTHING_TO_DO, message="The task is in 'Failed'.")
    await site.put(await site.dispatched(), nothing)
    site.board.move_task(site.task_id, "Failed")
    (letter,) = await dead_letters.read_all(site.client, site.app)
    assert (letter.run_id, letter.reason, letter.route) == (str(failed.id), "exit 7", "Todo")


@pytest.mark.parametrize(("starts", "words"), [(0, "an agent"), (1, "attempt 2")])
async def test_who_cancels_a_run_that_waits_is_told_what_does_not_start(
    starts: int, words: str
) -> None:
    site = Site()
    run = await site.dispatched()
    for _ in range(starts):
        run = await site.noted(await site.put(run, Pending(message=str(DEAD)), Running()))
        run = await site.put(run, AwaitingRetry(scheduled_time=datetime.now(UTC)))
        await site.log(run).leave()
    await site.cancelled()
    task = site.board.get_task(site.task_id)
    recovery = Recovery(site.client, site.app, site.route, LOG)
    last = await store.last_finished_runs(site.client, site.app.name, [task.id])
    assert await recovery.resume(last[task.id], task)
    assert f"before {words} started" in site.comments[-1]
