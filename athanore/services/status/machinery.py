"""What an app has in Prefect that changes seldom: deployments, pools, workers, pauses."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.runs.capacity import pausing
from athanore.runs.capacity.fleet import Fleet, WorkerEntry, living, read_fleet
from athanore.runs.capacity.pausing import OwnPause
from athanore.runs.kept import pulls
from athanore.runs.kept.pulls import OpenPull
from athanore.runs.kept.questions import Question
from athanore.runs.port import RunQuery, RunStore
from athanore.runs.prefect_store import polls_are_paused
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes, deployments_of
from athanore.services.people.questions import open_questions
from athanore.services.showing.views import ProviderLimit
from athanore.services.status.provider_limits import provider_limits
from athanore.services.status.unpolled import Unpolled, unpolled


class Unserved(NamedTuple):
    """Why no worker takes the tasks of a route although some live, and what mends that."""

    why: str
    mend: str


@dataclass(frozen=True, slots=True)
class Machinery:
    """What an app has in Prefect: the agents' limit, online workers, versions, its routes' polls.

    `paused` names the paused parts of each route that has some (`polls`, `agents`);
    `pause_reasons` says why a route paused itself, `pause_ends` when it tries again, where that is
    known. `pool_is_paused`: the pool of the agents is, and
    with it all routes. `unserved` says of a route, by its name, why no worker
    takes its tasks although some live, `full` why none of those that do takes another one now,
    `unpolled` why nothing has looked at its queue for minutes.
    `provider_limits`: usage limits that are reached or near.
    `asked` is what agents have asked, and nobody has answered.
    `held` are the runs that wait because a function of the app's code failed on their tasks, or the
    board has refused their claims.
    `given_up` are the pull requests that agents go on with no more (`max_reactions`).
    """

    limit: int | None
    workers: tuple[str, ...]
    versions: tuple[str, ...]
    deployed: Mapping[str, DeploymentResponse]
    paused: Mapping[str, tuple[str, ...]]
    pause_reasons: Mapping[str, str]
    pool_is_paused: bool
    unserved: Mapping[str, Unserved] = field(default_factory=dict[str, Unserved])
    provider_limits: tuple[ProviderLimit, ...] = ()
    asked: tuple[Question, ...] = ()
    held: tuple[FlowRun, ...] = ()
    given_up: tuple[OpenPull, ...] = ()
    pause_ends: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    full: Mapping[str, str] = field(default_factory=dict[str, str])
    unpolled: Mapping[str, Unpolled] = field(default_factory=dict[str, Unpolled])


async def look_at_machinery(prefect: RunStore, app: App, routes: Routes) -> Machinery:
    """Read what changes seldom: deployments, pools, workers.

    Args:
        routes: the app's.
    """
    deployed, pool, limits, asked, held, given_up = await asyncio.gather(
        deployments_of(prefect, app.name),
        _read_pool(prefect, app),
        provider_limits(prefect, app, routes),
        open_questions(prefect, app),
        _held(prefect, app),
        _given_up(prefect, app, routes),
    )
    polls = {d.name: d for d in deployed.values() if names.POLL_TAG in d.tags}
    found = {r: polls.get(names.deployment_name(app.name, r)) for r in routes}
    polled = [r for r, poll in found.items() if poll is not None and not polls_are_paused(poll)]
    return Machinery(
        limit=pool.limit,
        workers=pool.workers,
        versions=tuple(sorted({d.version or "none" for d in deployed.values()})),
        deployed={r: poll for r, poll in found.items() if poll is not None},
        paused={r: _paused(r, poll, pool) for r, poll in found.items()},
        pause_reasons={r: pause.reason for r, pause in pool.own_pauses.items()},
        pause_ends={r: p.until for r, p in pool.own_pauses.items() if p.until is not None},
        pool_is_paused=pool.is_paused,
        unserved=_unserved(routes, pool.fleet) if pool.workers else {},
        full=_full(routes, pool),
        unpolled=await unpolled(prefect, app, polled) if polled else {},
        provider_limits=tuple(limits),
        asked=tuple(asked),
        held=held,
        given_up=given_up,
    )


async def _held(prefect: RunStore, app: App) -> tuple[FlowRun, ...]:
    """The runs whose last start had no agent, for a reason that a person has to mend."""
    query = RunQuery(
        tags=[names.app_tag(app.name), names.AGENT_TAG],
        states=[StateType.SCHEDULED],
        named=[PrefectState.AWAITING_SLOT],
    )
    return tuple(run for run in await prefect.find(query) if record_of(run).held)


async def _given_up(prefect: RunStore, app: App, routes: Routes) -> tuple[OpenPull, ...]:
    if not any(known.route.reactions for known in routes.values()):
        return ()
    return tuple(p for p in await pulls.all_open(prefect, app.name) if p.is_given_up)


def _unserved(routes: Routes, fleet: Fleet) -> dict[str, Unserved]:
    """Why no worker takes the tasks of a route, by its name. A stock worker has said nothing."""
    open_to_all = [w for w in fleet.workers.values() if w.name not in fleet.drains]
    unserved: dict[str, Unserved] = {}
    for name, known in routes.items():
        host = known.route.host
        if fleet.workers and not open_to_all:
            unserved[name] = Unserved("All workers are drained.", "athanore worker resume NAME")
        elif host is not None and not any(host in w.labels for w in open_to_all):
            unserved[name] = Unserved(
                f"It needs a worker on a host with the label {host!r}, and none is online.",
                f"athanore worker --host-labels {shlex.quote(host)}",
            )
    return unserved


@dataclass(frozen=True, slots=True)
class _Pool:
    limit: int | None = None
    is_paused: bool = False
    workers: tuple[str, ...] = ()
    paused_queues: frozenset[str] = frozenset()
    own_pauses: Mapping[str, OwnPause] = field(default_factory=dict[str, OwnPause])
    fleet: Fleet = field(default_factory=Fleet)


def _full(routes: Routes, pool: _Pool) -> dict[str, str]:
    """Why all workers that take the tasks of a route take no more at present, by its name."""
    if len(pool.workers) > len(pool.fleet.workers):
        return {}  # a stock worker has said nothing of itself
    there = [w for w in pool.fleet.workers.values() if w.name not in pool.fleet.drains]
    found: dict[str, str] = {}
    for name, known in routes.items():
        takers = [w for w in there if known.route.is_for_host(w.labels)]
        if len(takers) == 1 and not takers[0].has_room:
            found[name] = _why_full(takers[0])
        elif takers and not any(w.has_room for w in takers):
            found[name] = (
                f"All {len(takers)} workers that take it are full: at their own limits, or short "
                "of memory or disk space"
            )
    return found


def _why_full(worker: WorkerEntry) -> str:
    """Without the free bytes, which change all the time; `athanore workers` has them."""
    if not worker.full:
        agents = "one agent" if worker.limit == 1 else f"{worker.limit} agents"
        return f"Worker {worker.name} has its {agents} at work (--limit)"
    kind, setting = "memory", "min_free_memory"
    if "min_free_disk" in worker.full:
        kind, setting = "disk space", "min_free_disk"
    return f"Worker {worker.name} starts no more agents: it is short of {kind} ({setting})"


def _paused(route: str, poll: DeploymentResponse | None, pool: _Pool) -> tuple[str, ...]:
    """Name the paused parts of a route."""
    parts = ("polls",) if poll is not None and polls_are_paused(poll) else ()
    if pool.is_paused or names.slug(route) in pool.paused_queues:
        parts = (*parts, "agents")
    return parts


async def online_workers(prefect: RunStore, pool: str) -> list[str]:
    """The names of a pool's workers that live, as Prefect calls them."""
    return [w.name for w in await living(prefect, pool)]


async def _read_pool(prefect: RunStore, app: App) -> _Pool:
    """Read the agents' pool, with its online workers; an empty one if it is not there yet."""
    name = names.agents_pool(app.name)
    try:
        pool = await prefect.work_pool(name)
    except ObjectNotFound:
        return _Pool()
    workers, known, queues = await asyncio.gather(
        online_workers(prefect, name),
        read_fleet(prefect, app.name),
        prefect.work_queues(name),
    )
    alive = {w.name: w for w in known.workers.values() if w.pool_name in workers}
    return _Pool(
        limit=pool.concurrency_limit,
        is_paused=pool.is_paused,
        workers=tuple(names.short_worker_name(w, app.name) for w in workers),
        paused_queues=frozenset(q.name for q in queues if q.is_paused),
        own_pauses=await pausing.own_pauses(prefect, app.name, queues),
        fleet=Fleet(alive, known.drains),
    )
