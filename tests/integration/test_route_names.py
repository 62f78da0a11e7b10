"""A route's name is its key in Prefect, whatever its queue; a new name takes over what was open."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Completed, Pending, Running

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, names
from athanore.deployments import Deployed, deploy
from athanore.deployments.plan import plan
from athanore.flows.sweeping.sweep import look_once
from athanore.runs import store
from athanore.runs.capacity import pausing
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.route_record import RouteRecord
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of
from athanore.services import routes, runs
from tests.harness import app_name, prompt

QUEUES = ["Todo", "In Progress", "Done"]


class Site:
    """An app whose route is called otherwise than its queue, and otherwise after each deploy."""

    def __init__(self, client: PrefectRunStore) -> None:
        self.client = client
        self.name = app_name("named")
        self.board = MemoryAdapter(QUEUES)

    async def deployed(self, route: str, *was: str) -> tuple[App, Deployed]:
        dispatcher = AgentDispatcher(
            "true", name=self.name, queue_backend=self.board, api_port=0, max_retries=2
        )
        dispatcher.route("Todo", name=route, was=was, done_queue="Done")(prompt)
        app = App("run.py:dispatcher", dispatcher)
        return app, await deploy(self.client, plan(dispatcher, app.reference))

    async def waits(self, app: App, task: str) -> FlowRun:
        """A run that has begun once, and waits for its retry."""
        run = await self.dispatched(app, task)
        due = AwaitingRetry(scheduled_time=datetime.now(UTC) + timedelta(hours=1))
        for state in (Pending(), Running(), due):
            await self.client.set_flow_run_state(run.id, state, force=True)
        return await self.client.read_flow_run(run.id)

    async def starts(self, run: FlowRun) -> bool:
        """Whether the work queue of a run gives it to a worker."""
        assert run.work_queue_id is not None
        return not (await self.client.read_work_queue(run.work_queue_id)).is_paused

    async def dispatched(self, app: App, task: str) -> FlowRun:
        created = self.board.create_task("Todo", task)
        return (await runs.dispatch(self.client, app, created)).run

    async def deployments(self) -> set[str]:
        found = await deployments_of(self.client, self.name)
        return {names.route_of(d.parameters) for d in found.values()}


@pytest.fixture
async def site(prefect_api: str) -> AsyncGenerator[Site]:
    async with PrefectRunStore(prefect_api) as client:
        site = Site(client)
        yield site
        for deployment in (await deployments_of(client, site.name)).values():
            await client.delete_deployment(deployment.id)


@pytest.fixture(autouse=True)
def events_arrive(prefect_api: str) -> Generator[None]:
    """Send events to the session's server: Prefect would start one of its own for them."""
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield


async def test_a_route_with_a_name_is_called_so_in_prefect(site: Site) -> None:
    app, _ = await site.deployed("Coder")
    run = await site.dispatched(app, "Fix it")
    assert {names.route_tag("Coder"), names.app_tag(site.name)} <= set(run.tags)
    assert run.parameters["queue_name"] == "Todo"
    assert store.route_name(run) == "Coder"
    assert names.is_run_key(run.idempotency_key, site.name, "Coder", "1")
    found = await deployments_of(site.client, site.name)
    assert {d.name for d in found.values()} == {names.deployment_name(site.name, "Coder")}
    # A person may name the queue, as long as only one route watches it.
    for called in ("Coder", "Todo"):
        assert (await routes.pause(site.client, app, called)).name == "Coder"
        assert (await routes.resume(site.client, app, called)).name == "Coder"


async def test_a_new_name_takes_over_what_is_open_under_the_old_one(site: Site) -> None:
    old, _ = await site.deployed("Coder")
    fresh = await site.dispatched(old, "not begun")
    begun = await site.waits(old, "begun")

    app, done = await site.deployed("Engineer", "Coder")
    assert not done.lingering
    assert (await site.client.read_flow_run(fresh.id)).state_name == StateName.SUPERSEDED
    begun = await site.client.read_flow_run(begun.id)
    assert begun.state_type is StateType.SCHEDULED
    assert store.route_name(begun) == "Engineer"
    assert names.route_tag("Engineer") in begun.tags
    assert (await app.routes.find(site.client, begun.parameters)).name == "Engineer"
    held = await runs.make_way(site.client, app, site.board.get_ready_tasks(["Todo"]))
    assert [r.id for r in held.values()] == [begun.id], "its task has no second run"
    assert await site.deployments() == {"Engineer", "Coder"}, "Prefect needs it for the run"

    # A worker that had the run before still knows it by its old name.
    assert (await app.routes.find(site.client, fresh.parameters)).name == "Engineer"
    await site.client.set_flow_run_state(begun.id, Completed(), force=True)
    _, done = await site.deployed("Engineer", "Coder")
    assert done.changes == ["route 'Coder' is called 'Engineer' now"]
    assert await site.deployments() == {"Engineer"}


@pytest.mark.parametrize("by_itself", [False, True])
async def test_a_retry_under_the_old_name_is_paused_and_resumed_with_its_route(
    site: Site, by_itself: bool
) -> None:
    old, _ = await site.deployed("Coder")
    begun = await site.waits(old, "begun")
    if by_itself:
        await pausing.pause(site.client, site.name, "Coder", reason="Its agents cannot work now.")
    else:
        await routes.pause(site.client, old, "Coder")
    app, _ = await site.deployed("Engineer", "Coder")
    parts = await pausing.paused_parts(site.client, site.name, "Engineer")
    if by_itself:
        assert parts == ()
        assert await site.starts(begun), "what made the route pause makes it pause anew"
    else:
        assert parts == ("polls", "agents")
        assert not await site.starts(begun)
        await routes.resume(site.client, app, "Engineer")
        assert await site.starts(begun)
    await routes.pause(site.client, app, "Engineer")
    assert not await site.starts(begun)


async def test_a_run_of_a_route_that_is_gone_ends_where_its_record_says(site: Site) -> None:
    """Its worker was lost, and its route is called otherwise since, without `was=`."""
    old, _ = await site.deployed("Coder")
    run = await site.waits(old, "begun")
    book = RunLog(site.client, run, old.dispatcher.routes["Coder"].retry)
    await book.open("", "a token", route=RouteRecord.of(old.dispatcher.routes["Coder"]).dump())
    await book.ended(AgentResult(AgentOutcome.SUCCEEDED))
    await book.keep()  # the board was away
    task_id = names.task_of(run.tags)
    assert task_id
    site.board.move_task(task_id, "In Progress")
    app, done = await site.deployed("Engineer")
    assert done.lingering == ["Coder"], "something is due to its task"
    await look_once(site.client, app)
    assert site.board.get_task(task_id).queue_name == "Done"
    assert (await site.client.read_flow_run(run.id)).state_type is StateType.COMPLETED
    _, done = await site.deployed("Engineer")
    assert done.changes == ["removed route 'Coder'"]
