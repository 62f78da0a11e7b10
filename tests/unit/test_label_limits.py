"""No more agents at once on tasks with one label than routes say, on a store in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingConcurrencySlot, AwaitingRetry, Pending, Running, Suspended

from athanore.errors import RouteError
from athanore.models import Task
from athanore.runs.capacity import label_caps
from athanore.runs.capacity.slots import Slots
from athanore.runs.records.run_log import RunLog
from athanore.services import runs
from athanore.services.holds import Holds
from athanore.services.status import dry_run
from athanore.services.status.explaining import explain
from athanore.services.wakeups import label_is_free
from tests.memory_store import no_events
from tests.rules_site import PHASES, Site

__all__ = ["no_events"]

BIG = {"repo:big": 1}


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def task_of(site: Site, *labels: str, queue: str = "Todo") -> Task:
    return site.board.update_task(site.board.create_task(queue, "A task").id, labels=labels)


async def run_of(site: Site, task: Task, *states: Any) -> FlowRun:
    site.task_id = task.id
    return await site.put(await site.dispatched(), *states)


async def starting(site: Site, task: Task) -> RunLog:
    return site.log(await run_of(site, task, Pending(), Running()))


async def no_slot(site: Site, slots: Slots, log: RunLog) -> str | None:
    limits = label_caps.limits_of(site.route, site.board.get_task(log.run.parameters["task_id"]))
    return await slots.no_label_slot(site.client, site.app.name, log, limits)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_label_is_taken_by_who_works_and_by_nobody_else(phase: str) -> None:
    site = Site(label_limits=BIG)
    await run_of(site, task_of(site, "repo:big", "bug"), *PHASES[phase]())
    log = await starting(site, task_of(site, "repo:big"))
    full = await no_slot(site, Slots(), log)
    busy = "1 of 1 agents with label 'repo:big' busy"
    assert full == (busy if phase in ("working", "cancelling") else None)


@pytest.mark.parametrize("labels", [(), ("repo:small",), ("REPO:BIG",)])
async def test_other_labels_wait_for_nothing(labels: tuple[str, ...]) -> None:
    site = Site(label_limits=BIG)
    await run_of(site, task_of(site, "repo:big"), Pending(), Running())
    assert await no_slot(site, Slots(), await starting(site, task_of(site, *labels))) is None


async def test_of_several_labels_each_needs_a_slot() -> None:
    site = Site(label_limits={"a": 2, "b": 1})
    await run_of(site, task_of(site, "b"), Pending(), Running())
    log = await starting(site, task_of(site, "a", "b"))
    assert await no_slot(site, Slots(), log) == "1 of 1 agents with label 'b' busy"


async def test_of_two_that_start_at_once_one_may_begin() -> None:
    site, slots = Site(label_limits=BIG), Slots()
    logs = [await starting(site, task_of(site, "repo:big")) for _ in range(2)]
    for log in logs:
        assert await slots.no_slot(site.client, site.app.name, log.run) is None
    assert await no_slot(site, slots, logs[0]) == "1 of 1 agents with label 'repo:big' busy"
    assert await no_slot(site, slots, logs[1]) is None, "who was refused takes no slot"


async def test_the_labels_of_a_start_are_those_that_the_task_has_then() -> None:
    site = Site(label_limits=BIG)
    first = task_of(site, "repo:big")
    log = await starting(site, first)
    site.board.update_task(first.id, labels=())
    assert await no_slot(site, Slots(), log) is None
    assert label_caps.labels_of(await site.client.read_run(log.run.id)) == []
    assert await no_slot(site, Slots(), await starting(site, task_of(site, "repo:big"))) is None


WAITING = {
    "due": (lambda: (), True),
    "refused": (lambda: (AwaitingConcurrencySlot(scheduled_time=later(15)),), True),
    "retry": (lambda: (AwaitingRetry(scheduled_time=later(600)),), False),
    "suspended": (lambda: (Pending(), Running(), Suspended()), False),
    "working": (lambda: (Pending(), Running()), True),
}


@pytest.mark.parametrize("what", WAITING)
async def test_a_task_gets_no_run_while_its_label_is_taken(what: str) -> None:
    site = Site(label_limits=BIG)
    states, taken = WAITING[what]
    await run_of(site, task_of(site, "repo:big"), *states())
    other = task_of(site, "repo:big")
    found = await runs.dispatch_if_watched(site.client, site.app, other)
    assert (found is None) == taken
    seen = await explain(site.client, site.app, other)
    assert (seen.reason == "1 of 1 agents with label 'repo:big' busy.") == taken


async def test_a_poll_counts_those_that_it_dispatches() -> None:
    site = Site(label_limits={"repo:big": 2})
    holds = Holds(site.app, await site.app.routes.read(site.client))
    await holds.look_at_labels(site.client)
    tasks = [task_of(site, "repo:big") for _ in range(3)]
    held: list[bool] = []
    for task in tasks:
        held.append(await holds.of(site.route, task) is not None)
        if not held[-1]:
            holds.starts(site.route, task)
    assert held == [False, False, True]


async def test_nothing_is_read_where_no_label_is_limited() -> None:
    site = Site()
    holds = Holds(site.app, await site.app.routes.read(site.client))
    await holds.look_at_labels(site.client)
    assert holds.busy is None


async def test_a_dry_run_says_which_tasks_wait_for_a_label() -> None:
    site = Site(label_limits=BIG)
    for _ in range(2):
        task_of(site, "repo:big")
    planned = await dry_run.plan(site.app)
    assert [p.says for p in planned if not p.starts] == [
        "1 of 1 agents with label 'repo:big' busy."
    ]


async def test_the_end_of_an_agent_has_the_routes_of_its_label_polled() -> None:
    site = Site(label_limits=BIG)
    log = await starting(site, task_of(site, "repo:big"))
    await no_slot(site, Slots(), log)
    asked: list[str] = []

    async def create(deployment: Any, new: Any) -> Any:
        asked.append(new.name)

    site.client.create = create  # pyright: ignore[reportAttributeAccessIssue]
    await label_is_free(site.client, site.app, site.route, log.run)
    assert asked == ["label is free"]
    await label_is_free(site.client, site.app, site.dispatcher.routes["Next"], log.run)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "wrong", ["big", {"big": 0}, {"": 1}, {"big": "1"}, {"big": True}, ["big"], 3]
)
def test_wrong_limits_are_refused(wrong: Any) -> None:
    with pytest.raises(RouteError, match=r"label_limits=.* must be labels and whole numbers"):
        Site(label_limits=wrong)
