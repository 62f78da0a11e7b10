"""Scheduled work on a real Prefect: what a deploy makes of it, a run by hand, a pause, its end."""

from __future__ import annotations

import asyncio

import pytest

from athanore import AgentDispatcher, MemoryAdapter, names
from athanore.deployments import deploy
from athanore.deployments.plan import plan
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.routes.route_registry import deployments_of
from athanore.services import scheduling
from tests.harness import Running, app_name, prompt, running
from tests.support import wait_until


def _app() -> AgentDispatcher:
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    name = app_name("clock")
    dispatcher = AgentDispatcher("true", name=name, queue_backend=board, api_port=0)
    dispatcher.route("Todo", done_queue="Done")(prompt)
    dispatcher.every("0 6 * * 1", queue="Todo", name="Update", time_zone="Europe/Berlin")
    return dispatcher


@pytest.mark.smoke
def test_scheduled_work_makes_a_task_for_the_agent_and_goes_with_the_code(
    prefect_api: str,
) -> None:
    with running(_app(), prefect_api) as app:
        asyncio.run(_paused_and_resumed(app, prefect_api))
        name = names.deployment_name(app.dispatcher.name, "Update")
        found = app.prefect.get(f"/deployments/name/create-task/{name}")
        assert found["schedules"][0]["schedule"]["cron"] == "0 6 * * 1"
        assert found["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"
        app.prefect.post(f"/deployments/{found['id']}/create_flow_run", {"name": "by hand"})
        done = wait_until("the task is done", lambda: app.board.get_ready_tasks(["Done"]))
        assert [task.name for task in done] == ["Update"]
        assert "Created by the schedule 'Update'" in done[0].description
        asyncio.run(_gone_from_the_code(app, prefect_api))


async def _paused_and_resumed(app: Running, prefect_api: str) -> None:
    async with PrefectRunStore(prefect_api) as client:
        (seen,) = await scheduling.views(client, app.app)
        assert (seen.deployed, seen.paused, seen.next is not None) == (True, False, True)
        await scheduling.switch(client, app.app, "Update", paused=True)
        (seen,) = await scheduling.views(client, app.app)
        assert (seen.paused, seen.next) == (True, None)
        again = await deploy(client, plan(app.dispatcher, app.app.reference))
        assert again.changes == []
        await scheduling.switch(client, app.app, "Update", paused=False)


async def _gone_from_the_code(app: Running, prefect_api: str) -> None:
    without = AgentDispatcher("true", name=app.dispatcher.name, queue_backend=app.board, api_port=0)
    without.route("Todo", done_queue="Done")(prompt)
    async with PrefectRunStore(prefect_api) as client:
        done = await deploy(client, plan(without, app.app.reference))
        assert "removed schedule 'Update'" in done.changes
        found = await deployments_of(client, app.dispatcher.name, names.SCHEDULE_TAG)
        assert not found
