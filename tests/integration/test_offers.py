"""What Prefect offers to a host that serves some routes only, and which were called otherwise."""

from __future__ import annotations

from itertools import batched

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending

from athanore import AgentDispatcher, MemoryAdapter, names
from athanore.deployments import deploy
from athanore.deployments.plan import plan
from athanore.runs import store
from athanore.runs.capacity import pausing
from athanore.runs.dispatching import Dispatch
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of
from athanore.worker.taking.offers import PAGE, Offers
from tests.harness import app_name, prompt


async def test_a_host_is_offered_its_runs_though_no_queue_has_the_former_name(
    prefect_api: str,
) -> None:
    board = MemoryAdapter(["Todo", "Mac", "In Progress"])
    dispatcher = AgentDispatcher("true", name=app_name("offers"), queue_backend=board, api_port=0)
    dispatcher.route("Todo", name="fix", was=["mend"])(prompt)
    dispatcher.route("Mac", host="macos")(prompt)
    app = App("run.py:dispatcher", dispatcher)
    offers = Offers(lambda: [app], lambda: False)
    async with PrefectRunStore(prefect_api) as client:
        await deploy(client, plan(dispatcher, app.reference))
        try:
            route, task = dispatcher.routes["fix"], board.create_task("Todo", "Fix it")
            run = await app.dispatching.dispatch(client, route, task)
            for _ in range(2):
                offered = await offers.due(client, names.agents_pool(app.name), [])
                assert [one.id for one in offered] == [run.id]
        finally:
            for deployment in (await deployments_of(client, app.name)).values():
                await client.delete_deployment(deployment.id)


async def test_a_host_is_offered_its_runs_while_routes_come_and_go(prefect_api: str) -> None:
    """Prefect offers nothing at all to who asks for a queue that is not there."""
    board = MemoryAdapter(["Todo", "Mac", "Next", "In Progress"])
    name = app_name("offers")
    dispatcher = AgentDispatcher("true", name=name, queue_backend=board, api_port=0)
    dispatcher.route("Todo")(prompt)
    dispatcher.route("Mac", host="macos")(prompt)
    deployed = plan(dispatcher, "run.py:dispatcher")
    dispatcher.route("Next")(prompt)  # by new code, before it is deployed
    app = App("run.py:dispatcher", dispatcher)
    offers = Offers(lambda: [app], lambda: False)
    pool = names.agents_pool(name)
    async with PrefectRunStore(prefect_api) as client:
        await deploy(client, deployed)
        try:
            task = board.create_task("Todo", "Fix it")
            run = await app.dispatching.dispatch(client, dispatcher.routes["Todo"], task)
            assert [one.id for one in await offers.due(client, pool, [])] == [run.id]
            await deploy(client, plan(dispatcher, app.reference))
            offers = Offers(lambda: [app], lambda: False)
            assert [one.id for one in await offers.due(client, pool, [])] == [run.id]
            (gone,) = [q for q in await client.work_queues(pool) if q.name == names.slug("Next")]
            await client.delete_work_queue_by_id(gone.id)
            assert [one.id for one in await offers.due(client, pool, [])] == [run.id]
        finally:
            for deployment in (await deployments_of(client, name)).values():
                await client.delete_deployment(deployment.id)


@pytest.mark.postgres
async def test_priorities_limits_and_pauses_hold_for_a_host_that_serves_some_routes(
    prefect_api: str,
) -> None:
    board = MemoryAdapter(["Low", "High", "Mac", "In Progress"])
    name = app_name("some-routes")
    dispatcher = AgentDispatcher("true", name=name, queue_backend=board, api_port=0)
    dispatcher.route("Low", priority=3, max_concurrent=1)(prompt)
    dispatcher.route("High", priority=2)(prompt)
    dispatcher.route("Mac", priority=1, host="macos")(prompt)
    app = App("run.py:dispatcher", dispatcher)
    offers = Offers(lambda: [app], lambda: False)

    async def offered(limit: int = PAGE) -> list[str]:
        due = await offers.due(client, names.agents_pool(name), [], limit)
        return sorted(store.route_name(run) for run in due)

    async with PrefectRunStore(prefect_api) as client:
        await deploy(client, plan(dispatcher, app.reference))
        try:
            runs: list[FlowRun] = []
            for queue in ("Low", "Low", "High", "Mac"):
                task = board.create_task(queue, "Fix it")
                runs.append(await app.dispatching.dispatch(client, dispatcher.routes[queue], task))
            assert await offered() == ["High", "Low"], "one Low at a time, and nothing of the Mac's"
            assert await offered(1) == ["High"]
            await pausing.pause(client, name, "High")
            assert await offered() == await offered(1) == ["Low"]
            await client.impose(runs[0].id, Pending())
            assert await offered() == [], "the only one of Low's slots is taken"
            await pausing.resume(client, name, "High")
            assert await offered() == ["High"]
        finally:
            for deployment in (await deployments_of(client, name)).values():
                await client.delete_deployment(deployment.id)


async def test_it_is_looked_behind_runs_that_are_all_for_others(prefect_api: str) -> None:
    board = MemoryAdapter(["Todo", "Next", "In Progress"])
    dispatcher = AgentDispatcher("true", name=app_name("behind"), queue_backend=board, api_port=0)
    for queue in ("Todo", "Next"):
        dispatcher.route(queue)(prompt)
    app = App("run.py:dispatcher", dispatcher)
    pool = names.agents_pool(app.name)
    mine = ""

    async def among(runs: list[FlowRun]) -> tuple[list[FlowRun], bool]:
        found = [r for r in runs if names.task_of(r.tags) == mine]
        return found, len(found) < len(runs)

    async def found_by(offers: Offers) -> list[str | None]:
        found, _ = await offers.find(client, pool, [], (1, 1), among)
        return [names.task_of(r.tags) for r in found]

    def offers() -> Offers:
        return Offers(lambda: [app], lambda: False)

    async with PrefectRunStore(prefect_api) as client:
        await deploy(client, plan(dispatcher, app.reference))
        try:
            tasks = [board.create_task("Todo", f"Task {n}") for n in range(60)]
            due = [Dispatch(t, store.FIRST_VISIT, app.clock.now()) for t in tasks]
            for some in batched(due, 50, strict=False):
                await app.dispatching.dispatch_all(client, dispatcher.routes["Todo"], some, None)
            mine, here = tasks[-1].id, offers()
            assert await found_by(here) == [mine]
            assert await found_by(here) == [mine], "until it is taken"
            (run,) = await store.find_runs(client, app.name, store.WAITING, task_ids=[mine])
            await client.impose(run.id, Pending())
            assert await found_by(here) == [], "another worker has taken it"
            last = board.create_task("Next", "Of another route")
            await app.dispatching.dispatch(client, dispatcher.routes["Next"], last)
            mine = last.id
            assert await found_by(offers()) == [mine]
            (queue,) = [q for q in await client.work_queues(pool) if q.name == names.slug("Next")]
            await client.update_work_queue(queue.id, is_paused=True)
            assert await found_by(offers()) == [], "that route is paused"
            await client.update_work_queue(queue.id, is_paused=False, concurrency_limit=0)
            assert await found_by(offers()) == [], "and that one has no slot"
        finally:
            for deployment in (await deployments_of(client, app.name)).values():
                await client.delete_deployment(deployment.id)
