"""The rules of dispatch and cancellation, in every case they tell apart, on a store in memory."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import (
    Pending,
    Running,
)

from athanore.errors import (
    BoardUnavailableError,
    DispatchError,
    InvalidTaskError,
    TaskBusyError,
)
from athanore.models import Task
from athanore.runs import store
from athanore.runs.states import StateName
from athanore.services import runs
from tests.memory_store import no_events
from tests.rules_site import ENDED, NOT_TAKEN, PHASES, Site

__all__ = ["no_events"]


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
    after = await site.client.read_run(there.id)
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
        assert (await site.client.read_run(run.id)).state_type is run.state_type
        return
    done = await site.cancelled()
    after = await site.client.read_run(run.id)
    assert (done.run.id, done.at_once) == (run.id, phase in NOT_TAKEN)
    assert after.state_type is (StateType.CANCELLED if phase in NOT_TAKEN else StateType.CANCELLING)
    assert after.state is not None
    assert after.state.message == ("before" if phase == "cancelling" else "by me: not now")


async def test_a_run_is_not_cancelled_for_a_reason_that_is_too_long() -> None:
    site = Site()
    run = await site.dispatched()
    parts = (site.client, site.app, site.board.get_task(site.task_id), "me")
    with pytest.raises(InvalidTaskError, match=r"at most 1000 characters, .* has 1001\.$"):
        await runs.cancel(*parts, "x" * 1001)
    assert (await site.client.read_run(run.id)).state_type is StateType.SCHEDULED
    await runs.cancel(*parts, "x" * 1000)


async def test_of_two_runs_of_a_task_the_working_one_is_cancelled() -> None:
    site = Site()
    working = await site.put(await site.dispatched("Next"), Pending(), Running())
    waiting = await site.dispatched()
    await site.cancelled()
    assert (await site.client.read_run(working.id)).state_type is StateType.CANCELLING
    assert (await site.client.read_run(waiting.id)).state_type is StateType.SCHEDULED


async def test_a_card_that_cannot_be_read_keeps_no_other_run_from_being_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site()
    await site.dispatched()
    task = site.board.create_task("Todo", "Another")
    run = await site.app.dispatching.dispatch(site.client, site.route, task)
    for task_id in (site.task_id, task.id):
        site.board.move_task(task_id, "Elsewhere")
    read = site.board.get_task

    def get_task(task_id: str) -> Task:
        if task_id == site.task_id:
            raise BoardUnavailableError("status 500")
        return read(task_id)

    monkeypatch.setattr(site.board, "get_task", get_task)
    assert await runs.cancel_left_behind(site.client, site.app, site.route, {}) == 1
    assert (await site.client.read_run(run.id)).state_name == StateName.NOTHING_TO_DO


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
    after = await site.client.read_run(run.id)
    assert done == int(left)
    assert (after.state_name == StateName.NOTHING_TO_DO) is left
