"""Who may start an agent now, in every case that the gate tells apart, on a store in memory."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending, Running

from athanore.runs.capacity.slots import Slots
from tests.memory_store import no_events
from tests.rules_site import PHASES, Site

__all__ = ["no_events"]


async def beside(site: Site, phase: str, queue: str, task: str = "another") -> FlowRun:
    """The run of another task, in a phase."""
    site.task_id = site.board.create_task(queue, task).id
    return await site.put(await site.dispatched(queue), *PHASES[phase]())


async def starting(site: Site) -> FlowRun:
    """A run that has come to its flow, which asks the gate."""
    return await site.put(await site.dispatched(), Pending(), Running())


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("of", ["pool", "route"])
async def test_a_slot_is_taken_by_who_works_and_by_nobody_else(phase: str, of: str) -> None:
    site = Site()
    run = await starting(site)
    assert run.work_pool_name is not None and run.work_queue_id is not None
    if of == "pool":
        site.client.pools[run.work_pool_name].concurrency_limit = 1
    else:
        site.client.queues[run.work_queue_id].concurrency_limit = 1
    await beside(site, phase, "Todo")
    full = await Slots().no_slot(site.client, site.app.name, run)
    words = "all 1 agent slots are taken" if of == "pool" else "all 1 slots of the route are taken"
    assert full == (words if phase in ("working", "cancelling") else None)


@pytest.mark.parametrize("phase", ["working", "waiting"])
async def test_another_route_takes_no_slot_of_a_route(phase: str) -> None:
    site = Site()
    run = await starting(site)
    assert run.work_queue_id is not None
    site.client.queues[run.work_queue_id].concurrency_limit = 1
    await beside(site, phase, "Next")
    assert await Slots().no_slot(site.client, site.app.name, run) is None


async def test_a_task_has_one_agent() -> None:
    site = Site()
    run = await starting(site)
    await site.put(await site.dispatched("Next"), Pending(), Running())
    full = await Slots().no_slot(site.client, site.app.name, run)
    assert full == "another run still works on this task"


async def test_of_two_that_come_at_once_to_the_last_slot_one_may_start() -> None:
    site = Site()
    first = await starting(site)
    assert first.work_pool_name is not None
    site.client.pools[first.work_pool_name].concurrency_limit = 1
    second = await beside(site, "working", "Todo")
    slots = Slots()
    answers = [await slots.no_slot(site.client, site.app.name, run) for run in (first, second)]
    assert answers == ["all 1 agent slots are taken", None], "who was refused takes no slot"
