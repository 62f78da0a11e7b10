"""How an app is doing, read once from Prefect and the board: what `athanore status` shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from athanore import names, operations
from athanore.deployments.deploy import deployments_of
from athanore.deployments.pools import pause_reasons, queues_of
from athanore.errors import BoardError
from athanore.flows import ledger, pausing, runs
from athanore.flows.apps import App
from athanore.flows.registry import KnownRoute


@dataclass(frozen=True, slots=True)
class RunView:
    """One agent run; `due` is when a waiting one may start, None once it works or is over."""

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
    url: str


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route; `paused` names its paused parts (`polls`, `agents`), `tasks` what is queued.

    `pause_reason` says why it paused itself. `tasks` is None if the board did not answer.
    `source` is `code` or `api`; `changed` names the options of a route in the code that were
    changed over HTTP, until the next deploy.
    """

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


async def overview(client: PrefectClient, app: App) -> Overview:
    """Read how an app is doing. A board that is away is reported, not raised."""
    routes = await app.routes.read(client, fresh=True)
    active = await runs.find_runs(client, app.name, (*runs.WAITING, *runs.WORKING))
    deployed = await deployments_of(client, app.name)
    limit, workers, stopped, reasons = await _pool(client, app.name)
    counts: dict[str, int] | None = None
    letters: list[operations.DeadLetter] | None = None
    error: str | None = None
    try:
        counts = {q.name: q.task_count for q in await app.board.queues()}
        letters = await operations.dead_letters(client, app)
    except BoardError as exc:
        error = str(exc)
    polls = {d.name: d for d in deployed.values() if names.POLL_TAG in d.tags}
    parts: dict[str, tuple[str, ...]] = {}
    for queue_name in routes:
        poll = polls.get(names.deployment_name(app.name, queue_name))
        paused = ["polls"] if poll is not None and pausing.polls_are_paused(poll) else []
        if stopped is None or names.slug(queue_name) in stopped:
            paused.append("agents")
        parts[queue_name] = tuple(paused)
    shown = [r for r in active if names.task_of(r.tags) is not None]
    return Overview(
        app=app.name,
        ui_url=operations.prefect_ui(client),
        deployed_versions=tuple(sorted({d.version or "none" for d in deployed.values()})),
        limit=limit,
        working=sum(r.state_type in runs.WORKING for r in shown),
        workers=workers,
        routes=tuple(
            _route_view(
                known,
                names.deployment_name(app.name, queue_name) in polls,
                parts[queue_name],
                reasons.get(queue_name),
                shown,
                counts,
            )
            for queue_name, known in routes.items()
        ),
        runs=tuple(run_view(client, r) for r in shown),
        dead_letters=None if letters is None else tuple(letters),
        board_error=error,
    )


def run_view(client: PrefectClient, run: FlowRun) -> RunView:
    """A run in words."""
    worker = run.labels.get(ledger.WORKER)
    waits = run.state_type is StateType.SCHEDULED
    return RunView(
        run_id=str(run.id),
        name=run.name,
        task_id=names.task_of(run.tags),
        route=operations.route_name(run),
        state=run.state_name or "",
        attempt=ledger.attempt_of(run),
        since=run.state.timestamp if run.state else None,
        due=run.next_scheduled_start_time if waits else None,
        worker=None if worker is None else str(worker),
        message=(run.state.message or "") if run.state else "",
        url=operations.run_url(client, run),
    )


async def _pool(
    client: PrefectClient, app: str
) -> tuple[int | None, tuple[str, ...], set[str] | None, dict[str, str]]:
    """Return the agents' pool's limit, its online workers, its paused queues (None: all), reasons.

    The reasons are those of the routes that paused themselves.
    """
    name = names.agents_pool(app)
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return None, (), set(), {}
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    workers = await client.read_workers_for_work_pool(
        name, worker_filter=online, offset=0, limit=200
    )
    queues = await queues_of(client, name)
    paused = {q.name for q in queues if q.is_paused}
    return (
        pool.concurrency_limit,
        tuple(w.name.removesuffix(f" {name}") for w in workers),
        None if pool.is_paused else paused,
        pause_reasons(queues),
    )


def _route_view(
    known: KnownRoute,
    deployed: bool,
    paused: tuple[str, ...],
    pause_reason: str | None,
    active: list[FlowRun],
    counts: dict[str, int] | None,
) -> RouteView:
    route = known.route
    mine = [r for r in active if operations.route_name(r) == route.queue_name]
    working = sum(r.state_type in runs.WORKING for r in mine)
    retrying = sum(r.state_name == "AwaitingRetry" for r in mine)
    return RouteView(
        queue_name=route.queue_name,
        source=known.source,
        changed=known.changed,
        deployed=deployed,
        paused=paused,
        pause_reason=pause_reason,
        tasks=None if counts is None else counts.get(route.queue_name, 0),
        waiting=len(mine) - working - retrying,
        working=working,
        retrying=retrying,
    )
