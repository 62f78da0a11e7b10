"""Taking an app out of Prefect: its routes, schedules, work queues and pools, and its name.

What ran stays in Prefect's history, with its logs. The board is only written to where a task is to
go back to its queue because the worker that had it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from athanore import names
from athanore.deployments import removal
from athanore.deployments.app_record import forget_app, is_at_work
from athanore.flows.sweeping.lost import LostWorkers
from athanore.flows.sweeping.sweep import look_once
from athanore.runs import store
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of

_AT_WORK = (StateType.PENDING, *store.WORKING)


@dataclass(slots=True)
class Holdings:
    """What Prefect has of an app.

    Attributes:
        routes: each with the number of its runs that wait.
        busy: runs that may have an agent, on a host that cannot be looked into from here.
        is_at_work: a worker is there for it, or the process that serves it.
    """

    routes: dict[str, int] = field(default_factory=dict[str, int])
    schedules: list[str] = field(default_factory=list[str])
    pools: list[str] = field(default_factory=list[str])
    busy: list[FlowRun] = field(default_factory=list[FlowRun])
    is_at_work: bool = False

    @property
    def is_nothing(self) -> bool:
        """Prefect has nothing of the app."""
        return not (self.routes or self.schedules or self.pools)


async def holdings(client: PrefectRunStore, app: App) -> Holdings:
    """Look what Prefect has of an app; changes nothing."""
    found = Holdings(is_at_work=await is_at_work(client, app))
    for deployment in (await deployments_of(client, app.name)).values():
        if names.AGENT_TAG in deployment.tags or names.POLL_TAG in deployment.tags:
            found.routes.setdefault(names.route_of(deployment.parameters), 0)
        elif names.SCHEDULE_TAG in deployment.tags:
            found.schedules.append(str(deployment.parameters.get("schedule")))
    for route in found.routes:
        found.routes[route] = await store.count_waiting(client, app.name, route)
    for pool in (names.agents_pool(app.name), names.polls_pool(app.name)):
        try:
            await client.read_work_pool(pool)
        except ObjectNotFound:
            continue
        found.pools.append(pool)
    working = await store.find_runs(client, app.name, _AT_WORK)
    lost = {run.id for run, sure in await LostWorkers(client, app).find_lost(working) if sure}
    found.busy = [run for run in working if run.id not in lost]
    return found


async def undeploy(client: PrefectRunStore, app: App) -> tuple[list[str], list[str]]:
    """Remove all that Prefect has of an app that is not at work.

    Runs that wait are cancelled, and their tasks stay where they are. What a lost worker had goes
    back to its queue. A run that says that it is at work is cancelled; its task is not touched.

    Returns:
        A line for each thing that was removed; the routes that stay for now, paused, because the
        board could not be told of what came of their runs.
    """
    changes: list[str] = []
    lingering: list[str] = []
    gone = list((await deployments_of(client, app.name)).values())
    await removal.leave(client, app.name, gone)
    await look_once(client, App(app.reference, app.dispatcher.without_routes()))
    message = "The app was removed from Prefect."
    for run in await store.find_runs(client, app.name, _AT_WORK):
        await client.impose(run.id, Cancelled(name=StateName.ROUTE_REMOVED, message=message))
    gone = list((await deployments_of(client, app.name)).values())
    await removal.remove(client, app.name, gone, removal.AT_ONCE, changes, lingering)
    if lingering:
        return changes, lingering
    for pool in (names.agents_pool(app.name), names.polls_pool(app.name)):
        if await _delete_pool(client, pool):
            changes.append(f"removed work pool {pool!r}")
    await forget_app(client, app.name)
    return changes, []


async def _delete_pool(client: PrefectRunStore, name: str) -> bool:
    """Delete a pool with its queues, unless somebody else's deployments use it."""
    of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
    if await client.read_deployments(work_pool_filter=of_pool, limit=1):
        return False
    try:
        await client.delete_work_pool(name)
    except ObjectNotFound:
        return False
    return True
