"""What Prefect offers to a host that serves some routes only, and which were called otherwise."""

from __future__ import annotations

from athanore import AgentDispatcher, MemoryAdapter, names
from athanore.deployments import deploy
from athanore.deployments.plan import plan
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of
from athanore.worker.taking.offers import Offers
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
