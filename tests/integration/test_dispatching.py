"""Which run a task has: a working one of any route holds it, a waiting one only in its own queue.

The rules are tried on a real Prefect, without a worker: what waits stays waiting.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Completed, Pending, Running

from athanore import AgentDispatcher, MemoryAdapter, Task
from athanore.deployments import deploy
from athanore.deployments.plan import plan
from athanore.errors import DispatchError, TaskBusyError
from athanore.flows.sweeping.recovery import Recovery
from athanore.runs import store
from athanore.runs.dispatching import Dispatch
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of
from athanore.services import runs
from tests.harness import app_name, prompt

LOG = logging.getLogger(__name__)
QUEUES = ["Todo", "Urgent", "In Progress", "Parked", "Done"]


class Site:
    """A deployed app with two routes, and one task in the queue of the first."""

    def __init__(self, client: PrefectRunStore) -> None:
        self.client = client
        self.board = MemoryAdapter(QUEUES)
        dispatcher = AgentDispatcher(
            "true", name=app_name("due"), queue_backend=self.board, api_port=0, max_retries=2
        )
        dispatcher.route("Todo", done_queue="Done")(prompt)
        dispatcher.route("Urgent", done_queue="Done")(prompt)
        self.app = App("run.py:dispatcher", dispatcher)
        self.task_id = self.board.create_task("Todo", "Fix it").id

    @property
    def task(self) -> Task:
        return self.board.get_task(self.task_id)

    async def dispatched(self) -> FlowRun:
        return (await runs.dispatch(self.client, self.app, self.task)).run

    async def waits_for_its_retry(self) -> FlowRun:
        """A run whose next attempt is due in an hour."""
        run = await self.dispatched()
        for state in (
            Pending(),
            Running(),
            AwaitingRetry(scheduled_time=datetime.now(UTC) + timedelta(hours=1)),
        ):
            await self.client.set_flow_run_state(run.id, state, force=True)
        return await self.client.read_flow_run(run.id)

    async def read(self, run: FlowRun) -> FlowRun:
        return await self.client.read_flow_run(run.id)

    async def polled(self, queue_name: str) -> dict[str, FlowRun]:
        """What a poll of a queue finds under way, after it has cleared up."""
        ready = self.board.get_ready_tasks([queue_name])
        route = self.app.dispatcher.routes[queue_name]
        held = await runs.make_way(self.client, self.app, ready)
        await runs.cancel_left_behind(self.client, self.app, route, held)
        return held


@asynccontextmanager
async def site_at(prefect_api: str) -> AsyncGenerator[Site]:
    async with PrefectRunStore(prefect_api) as client:
        site = Site(client)
        await deploy(client, plan(site.app.dispatcher, site.app.reference))
        try:
            yield site
        finally:
            for deployment in (await deployments_of(client, site.app.name)).values():
                await client.delete_deployment(deployment.id)


@pytest.fixture
async def site(prefect_api: str) -> AsyncGenerator[Site]:
    async with site_at(prefect_api) as site:
        yield site


@pytest.fixture(autouse=True)
def events_arrive(prefect_api: str) -> Generator[None]:
    """Send events to the session's server: Prefect would start one of its own for them."""
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield


async def test_a_waiting_run_of_another_route_does_not_hold_its_task(site: Site) -> None:
    old = await site.waits_for_its_retry()
    site.board.move_task(site.task_id, "Urgent")
    new = await runs.dispatch(site.client, site.app, site.task)
    assert (new.route, new.created) == ("Urgent", True)
    assert store.route_name(new.run) == "Urgent"
    before = await site.read(old)
    assert (before.state_type, before.state_name) == (StateType.CANCELLED, "Superseded")
    assert "'Urgent'" in ((before.state and before.state.message) or "")
    again = await runs.dispatch(site.client, site.app, site.task)
    assert (again.run.id, again.created) == (new.run.id, False)


@pytest.mark.nightly
async def test_a_poll_takes_over_a_task_that_waited_for_another_route(site: Site) -> None:
    old = await site.waits_for_its_retry()
    assert set(await site.polled("Todo")) == {site.task_id}
    site.board.move_task(site.task_id, "Urgent")
    assert await site.polled("Urgent") == {}
    assert (await site.read(old)).state_name == "Superseded"
    new = await site.dispatched()
    assert {r.id for r in (await site.polled("Urgent")).values()} == {new.id}


async def test_a_task_that_comes_back_is_not_taken_for_cancelled_by_a_person(site: Site) -> None:
    old = await site.waits_for_its_retry()
    site.board.move_task(site.task_id, "Urgent")
    await site.polled("Urgent")
    site.board.move_task(site.task_id, "Todo")
    recovery = Recovery(site.client, site.app, site.app.dispatcher.routes["Todo"], LOG)
    assert not await recovery.resume(await site.read(old), site.task)
    new = await site.dispatched()
    assert new.id != old.id and site.task.comments == ()


@pytest.mark.nightly
async def test_a_poll_cancels_the_waiting_run_of_a_task_that_has_left(site: Site) -> None:
    left = await site.waits_for_its_retry()
    site.board.move_task(site.task_id, "Parked")
    stays = site.board.create_task("Todo", "Stays")
    other = (await runs.dispatch(site.client, site.app, stays)).run
    assert set(await site.polled("Todo")) == {stays.id}
    assert (await site.read(left)).state_name == StateName.NOTHING_TO_DO
    assert (await site.read(other)).state_type is StateType.SCHEDULED


async def test_a_task_that_came_while_a_poll_looked_keeps_its_run(site: Site) -> None:
    route = site.app.dispatcher.routes["Todo"]
    run = await site.dispatched()
    assert await runs.cancel_left_behind(site.client, site.app, route, {}) == 0
    assert (await site.read(run)).state_type is StateType.SCHEDULED


@pytest.mark.nightly
async def test_an_agent_at_work_holds_its_task_wherever_it_is(site: Site) -> None:
    run = await site.dispatched()
    for state in (Pending(), Running()):
        await site.client.set_flow_run_state(run.id, state)
    site.board.move_task(site.task_id, "Urgent")
    with pytest.raises(TaskBusyError):
        await site.dispatched()
    with pytest.raises(TaskBusyError):
        await runs.dispatch(site.client, site.app, site.task, "Todo")
    assert site.task.queue_name == "Urgent", "a task is not moved under its agent"
    assert set(await site.polled("Urgent")) == {site.task_id}
    assert await runs.dispatch_if_watched(site.client, site.app, site.task) is None
    assert (await site.read(run)).state_type is StateType.RUNNING
    site.board.move_task(site.task_id, "In Progress")
    with pytest.raises(TaskBusyError):
        await site.dispatched()


async def test_a_task_is_dispatched_to_another_route_by_name(site: Site) -> None:
    old = await site.waits_for_its_retry()
    done = await runs.dispatch(site.client, site.app, site.task, "Urgent")
    assert (done.route, done.created, site.task.queue_name) == ("Urgent", True, "Urgent")
    assert (await site.read(old)).state_name == "Superseded"
    site.board.move_task(site.task_id, "Parked")
    with pytest.raises(DispatchError, match="'Parked', which no route watches"):
        await site.dispatched()


async def test_a_batch_tells_of_the_runs_that_it_made_beside_a_busy_task(site: Site) -> None:
    """The busy task was read as ready, and has been dispatched and come back meanwhile."""
    route = site.app.dispatcher.routes["Todo"]
    first = await site.dispatched()
    await site.client.set_flow_run_state(first.id, Running(), force=True)
    await site.client.set_flow_run_state(first.id, Completed(), force=True)
    second = await site.dispatched()
    await site.client.set_flow_run_state(second.id, Running(), force=True)
    others = [site.board.create_task("Todo", f"Task {n}") for n in range(3)]
    due = [Dispatch(t, store.FIRST_VISIT, datetime.now(UTC)) for t in (site.task, *others)]
    created, refused = await site.app.dispatching.dispatch_all(site.client, route, due, None)
    assert set(created) == {t.id for t in others}
    assert refused == [str(TaskBusyError(site.task_id, str(second.id), second.name))]


@pytest.mark.nightly
async def test_the_reason_of_a_cancellation_is_kept_though_no_agent_had_started(
    site: Site,
) -> None:
    run = await site.waits_for_its_retry()
    done = await runs.cancel(site.client, site.app, site.task, "eve", "superseded by #42")
    assert done.at_once
    now = await site.read(run)
    assert now.state is not None
    assert (now.state.name, now.state.message) == ("Cancelled", "by eve: superseded by #42")
    recovery = Recovery(site.client, site.app, site.app.dispatcher.routes["Todo"], LOG)
    assert await recovery.resume(now, site.task)
    assert [c.text for c in site.task.comments] == [
        "Cancelled (by eve: superseded by #42) before an agent started; moving to 'In Progress'. "
        "Move it back to run it."
    ]
