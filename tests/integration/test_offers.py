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
