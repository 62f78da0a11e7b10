"""What an app has in Prefect that changes seldom: deployments, pools, workers, pauses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import Worker
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.runs.capacity import pausing
from athanore.runs.capacity.work_queues import queues_of
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import deployments_of

_LONGEST_SILENCE = timedelta(seconds=45)
"""Our workers are heard of every 5 s, Prefect's own every 30 s."""


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
    pool = await _read_pool(client, app)
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


async def online_workers(client: PrefectClient, pool: str) -> list[str]:
    """The names of a pool's workers, without those that went silent while others were heard of.

    Prefect calls a worker online for 90 s after its last word, also one that was stopped.
    """
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    found = await client.read_workers_for_work_pool(pool, worker_filter=online, offset=0, limit=200)
    return [w.name for w in heard_lately(found)]


def heard_lately(workers: Sequence[Worker]) -> list[Worker]:
    """Those of some workers that were heard of about as lately as the newest; no clock is asked."""
    heard = [w.last_heartbeat_time for w in workers if w.last_heartbeat_time is not None]
    since = max(heard) - _LONGEST_SILENCE if heard else None
    return [
        w
        for w in workers
        if since is None or w.last_heartbeat_time is None or w.last_heartbeat_time >= since
    ]


async def _read_pool(client: PrefectClient, app: App) -> _Pool:
    """Read the agents' pool, with its online workers; an empty one if it is not there yet."""
    name = names.agents_pool(app.name)
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return _Pool()
    workers = await online_workers(client, name)
    queues = await queues_of(client, name)
    return _Pool(
        limit=pool.concurrency_limit,
        is_paused=pool.is_paused,
        workers=tuple(w.removesuffix(f" {name}") for w in workers),
        paused_queues=frozenset(q.name for q in queues if q.is_paused),
        pause_reasons=await pausing.pause_reasons(client, app.name, queues),
    )
