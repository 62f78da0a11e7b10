"""A worker hears of runs that other processes have made for its pool."""

from __future__ import annotations

import asyncio
from uuid import UUID

from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore import AgentDispatcher, MemoryAdapter, names
from athanore.deployments import deploy, planned
from athanore.runs.connection.clock import Clock
from athanore.runs.connection.transports import prefect_client
from athanore.runs.dispatching import Dispatching
from athanore.runs.prefect_store import PrefectRunStore
from athanore.worker.taking.arrivals import watch_arrivals
from tests.harness import app_name, prompt


async def _app(client: PrefectRunStore) -> tuple[AgentDispatcher, MemoryAdapter]:
    board = MemoryAdapter(["Todo", "In Progress"])
    app = AgentDispatcher(name=app_name("arrive"), queue_backend=board)
    app.route("Todo")(prompt)
    await deploy(client, await planned(client, app, "run.py:dispatcher"))
    return app, board


async def _dispatch(client: PrefectRunStore, app: AgentDispatcher, board: MemoryAdapter) -> UUID:
    task = board.create_task("Todo", "One")
    run = await Dispatching(app.name, Clock()).dispatch(client, app.routes["Todo"], task)
    return run.id


async def test_a_worker_hears_of_the_runs_of_its_pool_only(prefect_api: str) -> None:
    heard: asyncio.Queue[UUID] = asyncio.Queue()
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        async with prefect_client() as client, asyncio.timeout(240):
            mine, board = await _app(client)
            other, other_board = await _app(client)
            pool = names.agents_pool(mine.name)
            watch = asyncio.create_task(watch_arrivals(client, pool, heard.put_nowait))
            # Prefect's stream tells of what comes after it was opened, so try until it is.
            created: set[UUID] = set()
            while heard.empty():
                await _dispatch(client, other, other_board)
                created.add(await _dispatch(client, mine, board))
                await asyncio.sleep(0.2)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
    while not heard.empty():
        assert heard.get_nowait() in created


async def test_the_worker_of_polls_hears_of_those_that_a_webhook_asks_for(prefect_api: str) -> None:
    heard: asyncio.Queue[UUID] = asyncio.Queue()
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        async with prefect_client() as client, asyncio.timeout(240):
            app, _ = await _app(client)
            poll = await client.read_deployment_by_name(
                f"{names.POLL_FLOW}/{names.deployment_name(app.name, 'Todo')}"
            )
            pool = names.polls_pool(app.name)
            watch = asyncio.create_task(
                watch_arrivals(client, pool, heard.put_nowait, names.WEBHOOK_POLL)
            )
            asked: set[UUID] = set()
            while heard.empty():
                await client.create_flow_run_from_deployment(poll.id, name="by the schedule")
                run = await client.create_flow_run_from_deployment(poll.id, name=names.WEBHOOK_POLL)
                asked.add(run.id)
                await asyncio.sleep(0.2)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
    while not heard.empty():
        assert heard.get_nowait() in asked
