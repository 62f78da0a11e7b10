"""How an app is doing, read once from Prefect and the board: what `athanore status` shows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from prefect.client.schemas.filters import (
    LogFilter,
    LogFilterFlowRunId,
    LogFilterLevel,
)
from prefect.client.schemas.objects import FlowRun, Log, StateType
from prefect.client.schemas.sorting import LogSort

from athanore import names
from athanore.errors import BoardError
from athanore.models import Task
from athanore.runs import open_runs
from athanore.runs import store as runs
from athanore.runs.links import run_url, ui_url
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState
from athanore.runtime.apps import App
from athanore.runtime.routes import ownership
from athanore.runtime.routes.route_registry import KnownRoute
from athanore.services import dead_letters, scheduling
from athanore.services.holds import Holds
from athanore.services.showing.views import DeadLetter, NotStarted, Overview, RouteView, RunView
from athanore.services.status import reasons
from athanore.services.status.machinery import look_at_machinery
from athanore.services.status.needs_person import in_order, needs_person, of_matches
from athanore.services.status.reasons import Known

_PICTURE_SECONDS = 15.0
_MOST = 200


async def overview(client: PrefectRunStore, app: App) -> Overview:
    """Read how an app is doing. A board that is away is reported, not raised."""
    routes = await app.routes.read(client, fresh=True)
    found, machinery, schedules = await asyncio.gather(
        runs.find_runs(client, app.name, (*runs.WAITING, *runs.WORKING)),
        look_at_machinery(client, app, routes),
        scheduling.views(client, app),
    )
    active = [r for r in found if names.task_of(r.tags) is not None]
    working = [r for r in active if r.state_type in runs.WORKING]
    said = await _last_lines(client, working)
    counts: dict[str, int] | None = None
    letters: tuple[DeadLetter, ...] | None = None
    waiting = in_order(app.name, machinery)
    known = Known(app, routes, open_runs.of_all(active), machinery)
    not_started: list[NotStarted] = []
    error: str | None = None
    try:
        counts = {q.name: q.task_count for q in await app.board.queues()}
        at_rest = await dead_letters.at_rest(client, app, routes)
        letters = tuple(dead_letters.given_up(client, routes, at_rest))
        picture = await app.view.read(_PICTURE_SECONDS)
        held = await of_matches(client, app, routes, picture.tasks)
        waiting = await needs_person(app, routes, machinery, at_rest, held)
        not_started = await _not_started(known, picture.tasks)
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
        ui_url=ui_url(str(client.api_url)),
        deployed_versions=machinery.versions,
        limit=machinery.limit,
        working=len(working),
        workers=machinery.workers,
        routes=tuple(route_view(n, known) for n, known in routes.items()),
        runs=tuple(_with_reason(known, r, run_view(client, r, said.get(r.id, ""))) for r in active),
        dead_letters=letters,
        needs_person=tuple(waiting),
        board_error=error,
        board_quotas=tuple(app.board.quotas()),
        provider_limits=machinery.provider_limits,
        schedules=schedules,
        not_started=tuple(not_started),
    )


async def _not_started(known: Known, tasks: Sequence[Task]) -> list[NotStarted]:
    """The tasks in queues of routes that have no run yet, and why not."""
    holds = Holds(known.app, known.routes, reads=False)
    holds.has_read(tasks)
    idle = [t for t in tasks if t.id not in known.runs.by_task]
    queues = ownership.watched(known.routes)
    idle = [t for t in idle if t.queue_name in queues][:_MOST]
    whys = await reasons.of_tasks(known, idle, holds, whole=False)
    return [
        NotStarted(t.id, t.name, t.queue_name, why.route, why.reason, why.until)
        for t in idle
        if (why := whys.get(t.id)) is not None
    ]


def _with_reason(known: Known, run: FlowRun, view: RunView) -> RunView:
    why = reasons.of_run(known, view.task_id or "", run)
    return replace(view, waits_for=why.reason, until=why.until) if why.waits else view


def run_view(client: PrefectRunStore, run: FlowRun, last_line: str = "") -> RunView:
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
        url=run_url(client, run),
    )


async def _last_lines(client: PrefectRunStore, working: list[FlowRun]) -> dict[UUID, str]:
    """What the logs of runs said last, of those that said something in the newest lines."""
    if not working:
        return {}
    query = LogFilter(
        flow_run_id=LogFilterFlowRunId(any_=[run.id for run in working]),
        level=LogFilterLevel(ge_=logging.INFO),
    )
    logs = await client.read_logs(query, limit=200, offset=0, sort=LogSort.TIMESTAMP_DESC)
    return said_last(working, logs)


def said_last(working: list[FlowRun], logs: list[Log]) -> dict[UUID, str]:
    """The last line of each run that has said something since its attempt began.

    Args:
        logs: the newest ones, the newest first.
    """
    # How the attempt before has ended says nothing of this one, which is silent so far.
    began = {
        run.id: run.state.timestamp
        for run in working
        if run.state is not None and run.state.type is StateType.RUNNING
    }
    found: dict[UUID, str] = {}
    for log in logs:
        run, lines = log.flow_run_id, log.message.strip().splitlines()
        if run is None or not lines or (run in began and log.timestamp < began[run]):
            continue
        found.setdefault(run, lines[-1])
    return found
