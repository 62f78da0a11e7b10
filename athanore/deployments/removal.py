"""Taking away routes that are gone from the code: pause, drain, cancel what waits, delete.

The order matters. A run that is to be retried after its deployment is gone would abort for ever, so
nothing is deleted before the last agent has finished and the last waiting run is cancelled. The
tasks of cancelled runs were not claimed: they stay in their source queue. A waiting run that may
have its task, or has to tell the board what came of it, is ended by the sweep
(`flows.sweeping.gone`), and the deployment is deleted after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta

from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.runs import clearing, store
from athanore.runs.capacity import pausing
from athanore.runs.prefect_store import PrefectRunStore

_LOOK_EVERY = 0.5

AT_ONCE = timedelta(0)
"""Do not wait for running agents."""

_AT_WORK = (StateType.PENDING, *store.WORKING)


def is_leaving(deployment: DeploymentResponse) -> bool:
    """Tell whether a deployment's removal has begun."""
    return names.LEAVING_TAG in deployment.tags


async def remove(
    client: PrefectRunStore,
    app: str,
    gone: Sequence[DeploymentResponse],
    drain: timedelta,
    changes: list[str],
    lingering: list[str],
) -> None:
    """Remove the deployments of routes that are to be no more.

    Args:
        drain: how long running agents may take; a route whose agents take longer stays, paused.
        changes: gets a line for each route that was removed.
        lingering: gets the routes that stay for now.
    """
    agents = {_route(d): d for d in gone if names.AGENT_TAG in d.tags}
    for deployment in gone:
        await _pause(client, app, deployment)
    await _drained(client, app, agents, drain)
    for deployment in gone:
        if names.AGENT_TAG not in deployment.tags:
            await delete(client, deployment)
        if names.SCHEDULE_TAG in deployment.tags:
            changes.append(f"removed schedule {deployment.parameters.get('schedule')!r}")
    for route, deployment in agents.items():
        left = await clearing.cancel_waiting(client, app, route, "The route was removed.")
        if left or await at_work(client, app, route):
            lingering.append(route)
            continue
        await delete_queue(client, app, deployment)
        await delete(client, deployment)
        changes.append(f"removed route {route!r}")


async def leave(client: PrefectRunStore, app: str, gone: Sequence[DeploymentResponse]) -> None:
    """Begin to remove deployments: no polls, no more agents; for sweeps their routes are gone."""
    for deployment in gone:
        await _pause(client, app, deployment)


async def retire(
    client: PrefectRunStore, app: str, route: str, gone: Sequence[DeploymentResponse]
) -> bool:
    """Take a route of the code away until the next deploy; what is paused here stands for it.

    Returns False if runs of it are not over.
    """
    for deployment in gone:
        await _pause(client, app, deployment)
    if await clearing.cancel_waiting(client, app, route, "The route was removed."):
        return False
    return not await at_work(client, app, route)


async def take_back(client: PrefectRunStore, deployment: DeploymentResponse) -> None:
    """Let a route go on that has come back into the code before its removal was finished."""
    await client.resume_deployment(deployment.id)
    if deployment.work_queue_id is not None:
        await client.update_work_queue(deployment.work_queue_id, is_paused=False)


async def _pause(client: PrefectRunStore, app: str, deployment: DeploymentResponse) -> None:
    if is_leaving(deployment):
        return
    await client.pause_deployment(deployment.id)
    if _has_own_queue(app, deployment) and deployment.work_queue_id is not None:
        await pausing.forget_mark(client, app, _route(deployment))
        await client.update_work_queue(
            deployment.work_queue_id,
            is_paused=True,
            description=pausing.queue_description(_route(deployment)),
        )
    tags = [*deployment.tags, names.LEAVING_TAG]
    await client.update_deployment(deployment.id, DeploymentUpdate(tags=tags))


async def _drained(
    client: PrefectRunStore, app: str, routes: Iterable[str], limit: timedelta
) -> None:
    """Wait until no agent of these routes works any more, or the time is up."""
    deadline = asyncio.get_running_loop().time() + limit.total_seconds()
    while asyncio.get_running_loop().time() < deadline:
        if not any([await at_work(client, app, r) for r in routes]):
            return
        await asyncio.sleep(_LOOK_EVERY)


async def at_work(client: PrefectRunStore, app: str, route: str) -> bool:
    """Tell whether any run of a route is at work, or about to be."""
    return bool(await store.find_runs(client, app, _AT_WORK, route=route, limit=1))


async def delete_queue(client: PrefectRunStore, app: str, deployment: DeploymentResponse) -> None:
    """Delete the work queue of a route that is no more."""
    if deployment.work_queue_id is None or not _has_own_queue(app, deployment):
        return
    pool = await client.read_work_pool(names.agents_pool(app))
    try:
        if deployment.work_queue_id == pool.default_queue_id:
            await client.update_work_queue(deployment.work_queue_id, is_paused=False)
        else:
            await client.delete_work_queue_by_id(deployment.work_queue_id)
    except ObjectNotFound:
        return


async def delete(client: PrefectRunStore, deployment: DeploymentResponse) -> None:
    """Delete a deployment of which no run is open; one that is gone already is fine."""
    try:
        await client.delete_deployment(deployment.id)
    except ObjectNotFound:
        return


def _has_own_queue(app: str, deployment: DeploymentResponse) -> bool:
    return names.AGENT_TAG in deployment.tags and (
        deployment.work_pool_name == names.agents_pool(app)
    )


def _route(deployment: DeploymentResponse) -> str:
    return names.route_of(deployment.parameters) or deployment.name
