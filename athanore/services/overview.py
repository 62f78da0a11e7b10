"""How an app is doing, read once from Prefect and the board: what `athanore status` shows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    LogFilter,
    LogFilterFlowRunId,
    LogFilterLevel,
    WorkerFilter,
    WorkerFilterStatus,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.errors import BoardError
from athanore.runs import pausing
from athanore.runs import store as runs
from athanore.runs.record import record_of
from athanore.runs.states import PrefectState
from athanore.runs.work_queues import queues_of
from athanore.runtime.apps import App
from athanore.runtime.route_registry import KnownRoute, deployments_of
from athanore.services import operations


@dataclass(frozen=True, slots=True)
class RunView:
    """One agent run; `due` is when a waiting one may start, None once it works or is over.

    `last_line` is what the log of one that works said last.
    """

    run_id: str
    name: str
    task_id: str | None
    route: str
    state: str
    attempt: int
    since: datetime | None
    due: datetime | None
    worker: str | None
    message: str
    last_line: str
    url: str


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route; `paused` names its paused parts (`polls`, `agents`), `tasks` what is queued.

    `pause_reason` says why it paused itself. `tasks` is None if the board did not answer.
    `source` is `code` or `api`; `changed` names the options of a route in the code that were
    changed over HTTP, until the next deploy.
    """

    name: str
    queue_name: str
    source: str
    changed: tuple[str, ...]
    deployed: bool
    paused: tuple[str, ...]
    pause_reason: str | None
    tasks: int | None
    waiting: int
    working: int
    retrying: int


@dataclass(frozen=True, slots=True)
class Overview:
    """An app as a whole; `limit` is that of the agents' pool, None for none.

    `board_error` says why the numbers of tasks are missing.
    """

    app: str
    ui_url: str
    deployed_versions: tuple[str, ...]
    limit: int | None
    working: int
    workers: tuple[str, ...]
    routes: tuple[RouteView, ...]
    runs: tuple[RunView, ...]
    dead_letters: tuple[operations.DeadLetter, ...] | None
    board_error: str | None


@dataclass(frozen=True, slots=True)
class Machinery:
    """What an app has in Prefect: the agents' limit, online workers, versions, its routes' polls.

    `paused` names the paused parts of each route that has some (`polls`, `agents`);
    `pause_reasons` says why a route paused itself.
    """

    limit: int | None
    workers: tuple[str, ...]
    versions: tuple[str, ...]
    deployed: Mapping[str, DeploymentResponse]
    paused: Mapping[str, tuple[str, ...]]
    pause_reasons: Mapping[str, str]


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
    )


async def overview(client: PrefectClient, app: App) -> Overview:
    """Read how an app is doing. A board that is away is reported, not raised."""
    routes = await app.routes.read(client, fresh=True)
    active = await runs.find_runs(client, app.name, (*runs.WAITING, *runs.WORKING))
    active = [r for r in active if names.task_of(r.tags) is not None]
    working = [r.id for r in active if r.state_type in runs.WORKING]
    machinery = await look_at_machinery(client, app, routes)
    said = await _last_lines(client, working)
    counts: dict[str, int] | None = None
    letters: tuple[operations.DeadLetter, ...] | None = None
    error: str | None = None
    try:
        counts = {q.name: q.task_count for q in await app.board.queues()}
        letters = tuple(await operations.dead_letters(client, app))
    except BoardError as exc:
        error = str(exc)

    def route_view(name: str, known: KnownRoute) -> RouteView:
        mine = [r for r in active if runs.route_name(r) in known.route.names]
        at_work = sum(r.state_type in runs.WORKING for r in mine)
        retrying = sum(r.state_name == PrefectState.AWAITING_RETRY for r in mine)
        return RouteView(
            name=name,
            queue_name=known.route.queue_name,
            source=known.source,
            changed=known.changed,
            deployed=name in machinery.deployed,
            paused=machinery.paused[name],
            pause_reason=machinery.pause_reasons.get(name),
            tasks=None if counts is None else counts.get(known.route.queue_name, 0),
            waiting=len(mine) - at_work - retrying,
            working=at_work,
            retrying=retrying,
        )

    return Overview(
        app=app.name,
        ui_url=operations.prefect_ui(client),
        deployed_versions=machinery.versions,
        limit=machinery.limit,
        working=len(working),
        workers=machinery.workers,
        routes=tuple(route_view(n, known) for n, known in routes.items()),
        runs=tuple(run_view(client, r, said.get(r.id, "")) for r in active),
        dead_letters=letters,
        board_error=error,
    )


def run_view(client: PrefectClient, run: FlowRun, last_line: str = "") -> RunView:
    """A run in words."""
    waits, known = run.state_type is StateType.SCHEDULED, record_of(run)
    return RunView(
        run_id=str(run.id),
        name=run.name,
        task_id=names.task_of(run.tags),
        route=runs.route_name(run),
        state=run.state_name or "",
        attempt=known.attempt,
        since=run.state.timestamp if run.state else None,
        due=run.next_scheduled_start_time if waits else None,
        worker=known.worker or None,
        message=(run.state.message or "") if run.state else "",
        last_line=last_line,
        url=operations.run_url(client, run),
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


async def _last_lines(client: PrefectClient, run_ids: list[UUID]) -> dict[UUID, str]:
    """What the logs of runs said last, of those that said something in the newest lines."""
    if not run_ids:
        return {}
    query = LogFilter(
        flow_run_id=LogFilterFlowRunId(any_=run_ids), level=LogFilterLevel(ge_=logging.INFO)
    )
    found: dict[UUID, str] = {}
    for log in await client.read_logs(query, limit=200, offset=0, sort=LogSort.TIMESTAMP_DESC):
        lines = log.message.strip().splitlines()
        if log.flow_run_id is not None and lines:
            found.setdefault(log.flow_run_id, lines[-1])
    return found
