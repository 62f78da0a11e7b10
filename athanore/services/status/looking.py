"""Reading what people look at: the open tasks, one task with its runs, a run's log, the routes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.dispatcher import AgentDispatcher
from athanore.errors import DispatchError
from athanore.models import Task
from athanore.routing.options import Options, shown
from athanore.routing.route_options import OPTIONS
from athanore.routing.schedules import Schedule
from athanore.runs import store
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import KnownRoute, Routes, ranked_routes
from athanore.services import tasks
from athanore.services.access import WholePrefectAccess
from athanore.services.holds import Holds
from athanore.services.showing.route_views import RouteTable
from athanore.services.showing.views import (
    Explained,
    LogLine,
    LogPage,
    OpenTask,
    WholeTask,
    origin,
)
from athanore.services.status import explaining, reasons
from athanore.services.status.overview import run_view
from athanore.texts import duration

LOG_LINES = 200
"""The most lines of one page of a log."""

_SHOWN_RUNS = 20


async def open_tasks(
    prefect: WholePrefectAccess, app: App, queues: Sequence[str] | None
) -> tuple[OpenTask, ...]:
    """Read the open tasks, queue by queue, in board order, with their runs.

    Args:
        queues: only these; None for all.

    Raises:
        BoardError: the board does not answer, or has no such queue.
    """
    wanted = queues or [q.name for q in await app.board.queues()]
    listed = await app.board.ready_tasks(wanted)
    async with prefect.client() as client:
        routes = await app.routes.read(client)
        known = await reasons.read(client, app, routes, listed)
    holds = Holds(app, routes, reads=queues is not None)
    holds.has_read(listed)
    whys = await reasons.of_tasks(known, listed, holds, whole=True)

    def open_task(task: Task) -> OpenTask:
        run, why = known.runs.by_task.get(task.id), whys.get(task.id)
        view = None if run is None else run_view(client, run)
        if why is None or not why.waits:
            return OpenTask(task, view)
        return OpenTask(task, view, why.reason, why.until)

    return tuple(map(open_task, listed))


async def whole_task(prefect: WholePrefectAccess, app: App, task_id: str) -> WholeTask:
    """Read a task, its newest runs, and what it waits for.

    Raises:
        TaskNotFoundError: no task has this id; the message names the open tasks.
    """
    task = await tasks.read(app, task_id)
    async with prefect.client() as client:
        found = await _newest_runs(client, app, task.id, _SHOWN_RUNS)
        runs = tuple(run_view(client, run) for run in found)
        routes = await app.routes.read(client)
        known = await reasons.read(client, app, routes, [task])
    why = await reasons.of_task(known, task, Holds(app, routes), whole=True)
    if why is None or not why.waits:
        return WholeTask(task, runs)
    return WholeTask(task, runs, why.reason, why.until)


async def explained(client: PrefectRunStore, app: App, task_id: str) -> Explained:
    """Say why a task is where it is; see `explaining.explain`."""
    task = await tasks.read(app, task_id)
    seen = await explaining.explain(client, app, task)
    return Explained(
        task.id, task.name, task.queue_name, seen.route, seen.reason, seen.until, seen.commands
    )


async def log_page(
    prefect: WholePrefectAccess,
    app: App,
    task_id: str,
    run_id: UUID | None = None,
    after: datetime | None = None,
    offset: int = 0,
) -> LogPage:
    """Read at most `LOG_LINES` lines of the log of a task's run.

    Args:
        run_id: the run; None for the newest one of the task.
        after: only what was said after this moment.
        offset: how many lines to leave out at the beginning.

    Raises:
        DispatchError: the task has had no run.
        TaskNotFoundError: no task has this id; the message names the open tasks.
    """
    task_id = await app.board.id_of(task_id)
    async with prefect.client() as client:
        run: FlowRun | None = None
        if run_id is None:
            run = next(iter(await _newest_runs(client, app, task_id, 1)), None)
        else:
            with suppress(ObjectNotFound):
                run = await client.read_flow_run(run_id)
        wanted = {names.app_tag(app.name), names.task_tag(task_id)}
        if run is not None and wanted <= set(run.tags):
            since = None
            if after is not None:
                since = LogFilterTimestamp.model_validate({"after_": after})
            query = LogFilter(
                flow_run_id=LogFilterFlowRunId(any_=[run.id]),
                timestamp=since,
            )
            lines = await client.read_logs(query, limit=LOG_LINES, offset=offset)
            return LogPage(
                str(run.id),
                tuple(LogLine(str(n.id), n.timestamp, n.level, n.message) for n in lines),
                run.state_name or "",
                (run.state.message or "") if run.state else "",
                run.state_type in store.FINISHED,
            )
    task = await tasks.read(app, task_id)
    raise DispatchError(
        f"Task {task_id!r} ({task.name}) has had no agent run yet; it is in {task.queue_name!r}."
    )


async def _newest_runs(
    client: PrefectRunStore, app: App, task_id: str, limit: int
) -> list[FlowRun]:
    return await store.find_runs(
        client,
        app.name,
        (*store.WAITING, *store.WORKING, *store.FINISHED),
        task_ids=[task_id],
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
    )


def route_table(routes: Routes, dispatcher: AgentDispatcher) -> RouteTable:
    """The routes in the order in which they get free slots, and what is created by the clock."""
    schedules = dispatcher.schedules.values()
    columns = {name: o for name, o in OPTIONS.items() if o.column}
    ranked = ranked_routes(routes)
    return RouteTable(
        ("queue", "agent", *(str(o.column) for o in columns.values()), ""),
        tuple(
            (
                k.route.queue_name,
                k.route.describe(dispatcher.default_agent),
                *_cells(k, columns),
                origin(k.source, k.changed),
            )
            for k in ranked
        ),
        tuple(
            {
                "queue_name": k.route.queue_name,
                "source": k.source,
                "changed": k.changed,
                "agent": k.route.describe(dispatcher.default_agent),
                **shown(k.route),
            }
            for k in ranked
        ),
        tuple((s.name, s.cron, s.time_zone, s.queue, _next(s)) for s in schedules),
    )


def _next(schedule: Schedule) -> str:
    return f"{schedule.next_after(datetime.now(UTC)).astimezone(schedule.zone):%a %Y-%m-%d %H:%M}"


def _cells(known: KnownRoute, columns: Options) -> list[str]:
    cells: list[str] = []
    for name, option in columns.items():
        value: object = getattr(known.route, name)
        text = duration(value.total_seconds()) if isinstance(value, timedelta) else str(value)
        cells.append(option.empty if value is None else text)
    return cells
