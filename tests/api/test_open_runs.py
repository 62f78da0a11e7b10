"""Runs that wait: the board page and /metrics ask for as much as they show, however many wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry

from athanore.runs import open_runs
from athanore.runs.connection.transports import prefect_client
from athanore.runs.prefect_store import PrefectRunStore
from tests.api.rig import Api

PAGE = 2


async def counted[T](work: Callable[[PrefectRunStore], Awaitable[T]]) -> tuple[T, int]:
    """Do something with Prefect's client, and count its requests."""
    requests: list[httpx.Response] = []

    async def note(response: httpx.Response) -> None:
        requests.append(response)

    async with prefect_client(event_hooks={"response": [note]}) as client:
        return await work(client), len(requests)


async def test_what_it_costs_does_not_grow_with_the_runs_that_wait(api: Api) -> None:
    app = api.app.name
    routes = api.dispatcher.routes
    tasks = [api.board.create_task("Todo", f"Task {i}") for i in range(9)]
    shown = [tasks[7].id, tasks[8].id]

    async def dispatch(client: PrefectRunStore, some: slice) -> None:
        for task in tasks[some]:
            await api.app.dispatching.dispatch(client, routes["Todo"], task)

    async def of_tasks(client: PrefectRunStore) -> open_runs.OpenRuns:
        return await open_runs.of_tasks(client, app, shown, page=PAGE)

    async def count(client: PrefectRunStore) -> dict[tuple[str, open_runs.Phase], int]:
        return dict(await open_runs.count(client, app, routes, page=PAGE))

    with temporary_settings({PREFECT_API_URL: api.prefect_api}):
        async with prefect_client() as client:
            earlier = await open_runs.count(client, app, routes)
            await dispatch(client, slice(4, 9))
            retried = (await open_runs.of_tasks(client, app, shown)).by_task[tasks[4].id]
            await client.set_flow_run_state(retried.id, AwaitingRetry(), force=True)
            _, few_asked = await counted(of_tasks)
            _, few_counted = await counted(count)
            await dispatch(client, slice(0, 4))
        found, asked = await counted(of_tasks)
        counts, counted_with = await counted(count)

    assert found.by_task.keys() >= set(shown), "those of the cards that are shown"
    assert len(found.by_task) < len(tasks)
    assert counts["Todo", "waiting"] == earlier["Todo", "waiting"] + 8
    assert counts["Todo", "retrying"] == earlier["Todo", "retrying"] + 1
    assert (asked, counted_with) == (few_asked, few_counted)
