"""What an app has in Prefect that changes seldom: deployments, pools, workers, pauses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.runs import pausing
from athanore.runs.work_queues import queues_of
from athanore.runtime.apps import App
from athanore.runtime.route_registry import deployments_of


@dataclass(frozen=True, slots=True)
class Machinery:
    """What an app has in Prefect: the agents' limit, online workers, versions, its routes' polls.

    `paused` names the paused parts of each route that has some (`polls`, `agents`);
    `pause_reasons` says why a route paused itself. `pool_is_paused`: the pool of the agents is, and
    with it all routes.
    """

    limit: int | None
    workers: tuple[str, ...]
    versions: tuple[str, ...]
    deployed: Mapping[str, DeploymentResponse]
    paused: Mapping[str, tuple[str, ...]]
    pause_reasons: Mapping[str, str]
    pool_is_paused: bool


async def look_at_machinery(client: PrefectClient, app: App, routes: Iterable[str]) -> Machinery:
    """Read what changes seldom: deployments, pools, workers.

    Args:
        routes: the names of the app's routes.
    """
    deployed = await deployments_of(client, app.name)
    pool = await _read_pool(client, app.name)
    polls = {d.name: d for d in deployed.values() if names.POLL_TAG in d.tags}
    found = {r: polls.get(names.deployment_name(app.name, r)) for r in routes}
    return Machinery(
        limit=pool.limit,
        workers=pool.workers,
        versions=tuple(sorted({d.version or "none" for d in deployed.values()})),
        deployed={r: poll for r, poll in found.items() if poll is not None},
        paused={r: _paused(r, poll, pool) for r, poll in found.items()},
        pause_reasons=pool.pause_reasons,
        pool_is_paused=pool.is_paused,
    )


@dataclass(frozen=True, slots=True)
class _Pool:
    limit: int | None = None
    is_paused: bool = False
    workers: tuple[str, ...] = ()
    paused_queues: frozenset[str] = frozenset()
    pause_reasons: Mapping[str, str] = field(default_factory=dict[str, str])


def _paused(route: str, poll: DeploymentResponse | None, pool: _Pool) -> tuple[str, ...]:
    """Name the paused parts of a route."""
    parts = ("polls",) if poll is not None and pausing.polls_are_paused(poll) else ()
    if pool.is_paused or names.slug(route) in pool.paused_queues:
        parts = (*parts, "agents")
    return parts


async def _read_pool(client: PrefectClient, app: str) -> _Pool:
    """Read the agents' pool, with its online workers; an empty one if it is not there yet."""
    name = names.agents_pool(app)
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return _Pool()
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    workers = await client.read_workers_for_work_pool(
        name, worker_filter=online, offset=0, limit=200
    )
    queues = await queues_of(client, name)
    return _Pool(
        limit=pool.concurrency_limit,
        is_paused=pool.is_paused,
        workers=tuple(w.name.removesuffix(f" {name}") for w in workers),
        paused_queues=frozenset(q.name for q in queues if q.is_paused),
        pause_reasons=await pausing.pause_reasons(client, app, queues),
    )
