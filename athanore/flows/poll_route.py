"""The polling flow: what is ready in a queue becomes agent runs."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from datetime import timedelta
from itertools import batched
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed

from athanore import names
from athanore.errors import (
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    DispatchError,
    RouteError,
)
from athanore.flows import reports
from athanore.flows.conflicts import rivals
from athanore.flows.sweeping.recovery import Recovery
from athanore.flows.sweeping.sweep import look_once
from athanore.logs import Log
from athanore.models import Task
from athanore.queue_adapters.base import HasStampInterval
from athanore.routing.routes import Route
from athanore.runs import open_runs, store
from athanore.runs.capacity import fleet, pausing
from athanore.runs.dispatching import Dispatch
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.registry import registry
from athanore.runtime.routes.route_registry import Routes
from athanore.services import runs
from athanore.services.holds import Holds
from athanore.services.owners import owners
from athanore.services.status import reasons
from athanore.services.status.reasons import Known

_CREATED_TOGETHER = 10
"""How many runs are created in one request: it is one transaction, and others wait for it."""

_LOOKED_AT_TOGETHER = 100
"""For how many ready tasks runs are looked up before the first of theirs are created."""


@flow(name=names.POLL_FLOW, persist_result=False)
async def poll_route(
    queue_name: str,
    app: str,
    resume: bool = False,
    route: dict[str, Any] | None = None,
    route_name: str = "",
    newer_than: str = "",
) -> State[None]:
    """Look at one queue and create one agent run for each ready task that has none.

    Args:
        queue_name: the watched queue.
        app: where the app's code is; see `run_agent`.
        resume: if the route paused itself, let it go on first.
        route: what was said of the route over HTTP; see `athanore.runtime.routes.definitions`.
        route_name: the name of the route; by default as its queue.
        newer_than: when a webhook told of a change; what was read of the board before is not used.
    """
    named = {"queue_name": queue_name, "route_name": route_name, "route": route}
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    found = registry.of_run(run.tags if run else (), app)
    try:
        async with store.prefect_client() as client:
            current = await found.routes.find(client, named)
            if run is not None and names.is_drawn(run.name):
                await client.update_flow_run(run.id, name=f"poll {current.name}")
    except RouteError as exc:
        return Completed(name=StateName.NO_SUCH_ROUTE, message=str(exc))
    if resume and run is not None:  # it may stand for one that a webhook has asked for
        newer_than = newer_than or str(run.id)
    poll = _Poll(found, current, get_run_logger(), newer_than)
    try:
        if resume:
            await poll.resume_route()
        return await poll.perform()
    except (BoardUnavailableError, BoardAccessError) as exc:
        return _board_is_away(found, exc, poll.log)
    except BoardError as exc:
        if found.noted.poll_refused.get(current.name) != str(exc):
            found.noted.poll_refused[current.name] = str(exc)
            poll.log.error("%s: %s", current.name, exc, extra={"action": "board_refused"})
        return Failed(name=StateName.BOARD_REFUSED, message=str(exc))


class _Poll:
    """One look at a route's queue."""

    def __init__(self, app: App, route: Route, log: Log, newer_than: str = "") -> None:
        self.app = app
        self.route = route
        self.log = log
        self.newer_than = newer_than
        context = FlowRunContext.get()
        self.poll_id = context.flow_run.id if context and context.flow_run else None
        self.created: dict[str, UUID] = {}
        self.held: dict[str, str] = {}
        self.notes: list[str] = []

    async def resume_route(self) -> None:
        """Let a route go on that paused itself and was to try again now."""
        async with store.prefect_client() as client:
            route, now = self.route, self.app.clock.now()
            if await pausing.resume_by_itself(
                client, self.app.name, route.name, now, was=route.was, host=route.host
            ):
                self.notes.append("resumed by itself")

    async def perform(self) -> State[None]:
        route = self.route
        self.app.whole_polls.began(route.name)
        # Before the reading: what changes meanwhile makes another stamp.
        stamp = await self._stamp()
        in_queue = await self.app.board.ready_tasks([route.queue_name], newer_than=self.newer_than)
        _board_is_back(self.app, self.log)
        async with store.prefect_client() as client:
            routes = await self.app.routes.read(client)
            owned = await owners(self.app, routes, in_queue)
            ready = [t for t in in_queue if owned.routes.get(t.id) == route.name]
            owned.check_readable()
            self.notes += owned.held.values()
            if unread := owned.unread:
                task_id, why = next(iter(unread.items()))
                self.notes.append(f"{len(unread)} cannot be read, such as {task_id!r}: {why}")
            if not self.app.noted.is_swept:  # a stock worker, which has no timer for that
                await look_once(client, self.app)
            holds = Holds(self.app, routes)
            holds.has_read(in_queue)
            active: dict[str, FlowRun] = {}
            behind = len(ready)
            # What is cancelled gives its label back, so where labels are limited that comes first.
            limited = any(known.route.label_limits for known in routes.values())
            for some in _parts(ready, len(ready) if limited else _LOOKED_AT_TOGETHER):
                behind -= len(some)
                active |= await runs.make_way(client, self.app, some)
                if not behind:
                    await self._cancel_left_behind(client, active)
                    await holds.look_at_labels(client)
                due = [t for t in some if t.id not in active]
                await self._dispatch(client, due, holds, behind)
            self.notes += holds.remarks
            if self.created:
                await self._tell(client, ready, routes)
            await self._look_for_rivals(client)
            host = await self._missing_host(client) if ready else []
        self.app.noted.poll_refused.pop(route.name, None)
        summary = (
            f"{len(ready)} ready, {len(self.created)} dispatched, {len(active)} under way"
            if ready
            else "0 ready"
        )
        said = "; ".join([summary, *host, *self._held_in_words(), *self.notes])
        message = self.app.redactor.text(said)  # a user's function may have raised some of it
        if ready or self.notes:
            level = logging.INFO if self.created or self.notes else logging.DEBUG
            self.log.log(level, "%s: %s", route.name, message, extra={"action": "polled"})
            return Completed(message=message)
        self.app.whole_polls.found_nothing(route.name, stamp, routes)
        return Completed(name=StateName.NOTHING_READY, message=message)

    async def _cancel_left_behind(
        self, client: PrefectRunStore, active: Mapping[str, FlowRun]
    ) -> None:
        where = (client, self.app, self.route)
        if left := await runs.cancel_left_behind(*where, active, self.created):
            self.notes.append(f"{left} cancelled: their tasks have left the queue")

    async def _stamp(self) -> Hashable | None:
        if isinstance(self.app.board.adapter, HasStampInterval):
            return None  # it costs a request
        return await self.app.board.change_stamp()

    def _held_in_words(self) -> list[str]:
        """What is held, with the first reason; it is not logged anew by each poll."""
        if not self.held:
            return []
        first, why = next(iter(self.held.items()))
        return [f"{len(self.held)} held, such as {first!r}: {why}"]

    async def _missing_host(self, client: PrefectRunStore) -> list[str]:
        """Say that nobody takes the route's tasks; it is not logged anew by each poll."""
        host = self.route.host
        if host is None or await fleet.has_host(client, self.app.name, host):
            return []
        return [f"they wait for a worker on a host with the label {host!r}, and none is online"]

    async def _look_for_rivals(self, client: PrefectRunStore) -> None:
        for place in await rivals(client, self.app, self.route):
            self.log.error(
                "%r is also watched by %s: a task may be worked on twice. "
                "Stop one of them, or give each queues of its own.",
                self.route.queue_name,
                place,
                extra={"action": "queue_watched_twice"},
            )
            self.notes.append(f"also watched by {place}")

    async def _tell(self, client: PrefectRunStore, ready: list[Task], routes: Routes) -> None:
        """Write the route's table in Prefect; only for a poll that found something new."""
        runs = await open_runs.of_tasks(client, self.app.name, [t.id for t in ready])
        known = Known(self.app, routes, runs, None)
        seen = {t: reasons.of_run(known, t, run).reason for t, run in runs.by_task.items()}
        run_ids = {task_id: run.id for task_id, run in runs.by_task.items()}
        await reports.write_table(
            client,
            self.app,
            self.route.name,
            self.poll_id,
            ready,
            seen | self.held,
            run_ids | self.created,
            self.log,
        )

    async def _dispatch(
        self, client: PrefectRunStore, due: list[Task], holds: Holds, behind: int
    ) -> None:
        """Create the runs, in the board's order, some at a time: the first agents start at once.

        Args:
            behind: how many tasks come after these.
        """
        recovery = Recovery(client, self.app, self.route, self.log)
        finished = await store.last_finished_runs(client, self.app.name, [t.id for t in due])
        wanted: list[Dispatch] = []
        now = self.app.clock.now()
        for place, task in enumerate(due):
            if self.app.local_runs.at_work_on(task.id) is not None:
                continue  # though its run is deleted
            last = finished.get(task.id)
            if last is not None and await recovery.resume(last, task):
                continue
            if (hold := await holds.of(self.route, task)) is not None:
                self.held[task.id] = hold.reason
                continue
            holds.starts(self.route, task)
            visit = str(last.id) if last else store.FIRST_VISIT
            at = now - timedelta(milliseconds=behind + len(due) - place)
            wanted.append(Dispatch(task, visit, at))
        self.notes += recovery.notes
        for some in batched(wanted, _CREATED_TOGETHER, strict=False):
            try:
                created, refused = await self.app.dispatching.dispatch_all(
                    client, self.route, some, self.poll_id
                )
            except DispatchError as exc:
                self.notes.append(str(exc))
            else:
                self.created |= created
                self.notes += refused
                self.app.local_runs.wake()


def _parts(tasks: list[Task], size: int) -> list[list[Task]]:
    """Tasks in parts of so many; one part without any if there are none."""
    return [tasks[i : i + size] for i in range(0, len(tasks), max(size, 1))] or [[]]


def _board_is_away(
    app: App, error: BoardUnavailableError | BoardAccessError, log: Log
) -> State[None]:
    """Dispatch pauses until the board can be read again; that is said once."""
    refused = isinstance(error, BoardAccessError)
    if not app.noted.board_is_away:
        log.error(
            "%s; nothing is dispatched until that is over: %s",
            error.in_short.capitalize() if refused else "The board is away",
            error,
            extra={"action": "board_away"},
        )
        app.noted.board_is_away = True
    name = StateName.BOARD_REFUSED if refused else StateName.BOARD_UNAVAILABLE
    return Failed(name=name, message=str(error))


def _board_is_back(app: App, log: Log) -> None:
    if app.noted.board_is_away:
        app.noted.board_is_away = False
        log.info("The board is back.", extra={"action": "board_back"})
