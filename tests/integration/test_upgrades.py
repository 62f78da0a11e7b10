"""A process that lacks a route hands its runs back, and only a person's cancellation is one."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Cancelling, Running

from athanore import names
from athanore.flows.sweeping.recovery import Recovery
from athanore.runs.records.record import record_of
from athanore.runtime.registry import registry
from athanore.worker.execution import Execution
from tests.integration.test_interrupted import DEAD, Site, site_at

LOG = logging.getLogger(__name__)


@pytest.fixture
async def site(prefect_api: str) -> AsyncGenerator[Site]:
    """A deployed app with one task."""
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        async with site_at(prefect_api) as site:
            registry.register(site.app)
            try:
                yield site
            finally:
                registry.unregister(site.app)


async def execute_for_extra(site: Site, flow: str) -> FlowRun:
    """Run a flow for the route `Extra`, which the app here does not have."""
    deployment = f"{flow}/{names.deployment_name(site.app.name, 'Todo')}"
    found = await site.client.read_deployment_by_name(deployment)
    parameters = {"queue_name": "Extra", "route_name": "Extra"}
    if flow == names.AGENT_FLOW:
        parameters["task_id"] = site.task_id
    run = await site.client.create_flow_run_from_deployment(found.id, parameters=parameters)
    await Execution([site.app], LOG, "host-1").execute(site.client, run, flow)
    return await site.run(run)


async def test_an_agent_run_whose_route_is_not_here_is_given_back_uncounted(site: Site) -> None:
    run = await execute_for_extra(site, names.AGENT_FLOW)
    assert run.state_name == "AwaitingConcurrencySlot"
    assert run.state is not None and "no route for 'Extra'" in str(run.state.message)
    again = await site.put(run, Running())
    assert (again.run_count, record_of(again).attempt) == (2, 1)
    assert site.comments == []


async def test_a_poll_whose_route_is_not_here_is_no_failure(site: Site) -> None:
    run = await execute_for_extra(site, names.POLL_FLOW)
    assert (run.state_type, run.state_name) == (StateType.COMPLETED, "No such route")


async def by_a_person_while_it_waits(site: Site) -> FlowRun:
    run = await site.dispatched()
    await site.client.set_flow_run_state(run.id, Cancelling(message="by hand"))
    return run


async def by_a_person_when_it_has_just_begun(site: Site) -> FlowRun:
    run = await site.put(await site.started(DEAD), Cancelling(message="by hand"))
    return await site.put(run, Cancelled())


async def by_its_flow(site: Site) -> FlowRun:
    return await site.put(await site.started(DEAD), Cancelled(message="There was nothing to do."))


@pytest.mark.parametrize(
    ("cancelled", "wished"),
    [
        (by_a_person_while_it_waits, True),
        (by_a_person_when_it_has_just_begun, True),
        (by_its_flow, False),
    ],
)
async def test_only_what_a_person_cancelled_is_put_aside(
    cancelled: Callable[[Site], Coroutine[Any, Any, FlowRun]], wished: bool, site: Site
) -> None:
    run = await site.run(await cancelled(site))
    assert run.state_name == "Cancelled"
    recovery = Recovery(site.client, site.app, site.route, LOG)
    assert await recovery.resume(run, site.board.get_task(site.task_id)) is wished
    assert site.place == ("In Progress" if wished else "Todo")
    assert bool(site.comments) is wished
