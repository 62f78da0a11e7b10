"""The polling flow: what is ready in a queue becomes agent runs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
from prefect import Task as PrefectTask
from prefect import flow, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed, Pending

from athanore import names
from athanore.errors import BoardError, BoardUnavailableError, DispatchError, RouteError
from athanore.flows import apps, control, pausing, report, runs
from athanore.flows.recovery import Recovery
from athanore.flows.transcript import Log
from athanore.models import Task
from athanore.routes import Route

_CONCURRENT_CREATES = 4


@flow(name=names.POLL_FLOW, persist_result=False)
async def poll_route(
    queue_name: str, app: str, resume: bool = False, route: dict[str, Any] | None = None
) -> State[None]:
    """Look at one queue and create one agent run for each ready task that has none.

    Args:
        queue_name: the watched queue; the app has a route for it.
        app: where the dispatcher is, as `run.py:dispatcher`.
        resume: if the route paused itself, let it go on first.
        route: what was said of the route over HTTP; see `athanore.definitions`.
    """
    found = apps.find(app)
    try:
        async with runs.prefect_client() as client:
            current = await found.routes.find(client, queue_name, route)
    except RouteError as exc:
        return Failed(name="NoSuchRoute", message=str(exc))
    poll = _Poll(found, current, get_run_logger())
    try:
        if resume:
            await poll.resume_route()
        return await poll.perform()
    except BoardUnavailableError as exc:
        return _board_is_away(found.name, exc, poll.log)
    except BoardError as exc:
        poll.log.error("%s", exc)
        return Failed(name="BoardRefused", message=str(exc))


class _Poll:
    """One look at a route's queue."""

    def __init__(self, app: apps.App, route: Route, log: Log) -> None:
        self.app = app
        self.route = route
        self.log = log
        self.created: list[Task] = []
        self.notes: list[str] = []

    async def resume_route(self) -> None:
        """Let a route go on that paused itself and was to try again now."""
        async with runs.prefect_client() as client:
            if await pausing.resume_by_itself(client, self.app.name, self.route.queue_name):
                self.notes.append("resumed by itself")

    async def perform(self) -> State[None]:
        route = self.route
        tasks = await self.app.board.ready_tasks([route.queue_name, route.in_progress_queue])
        _board_is_back(self.app.name, self.log)
        ready = [t for t in tasks if t.queue_name == route.queue_name]
        in_progress = [t for t in tasks if t.queue_name == route.in_progress_queue]
        async with runs.prefect_client() as client:
            recovery = Recovery(client, self.app, route, self.log)
            await recovery.look(ready, in_progress)
            self.notes += recovery.notes
            active = await runs.active_runs(client, self.app.name, [t.id for t in ready])
            await self._dispatch(client, [t for t in ready if t.id not in active], recovery)
            if self.created:
                await self._tell(client, ready, active)
        summary = (
            f"{len(ready)} ready, {len(self.created)} dispatched, {len(active)} under way"
            if ready
            else "0 ready"
        )
        message = "; ".join([summary, *self.notes])
        if ready or self.notes:
            level = logging.INFO if self.created or self.notes else logging.DEBUG
            self.log.log(level, "%s: %s", route.queue_name, message)
            return Completed(message=message)
        return Completed(name=runs.NOTHING_READY, message=message)

    async def _tell(
        self, client: PrefectClient, ready: list[Task], active: dict[str, FlowRun]
    ) -> None:
        """Write the route's table in Prefect; only for a poll that found something new."""
        seen = {task_id: f"under way: {run.state_name}" for task_id, run in active.items()}
        seen |= {task.id: "dispatched" for task in self.created}
        context = FlowRunContext.get()
        poll = context.flow_run.id if context and context.flow_run else None
        await report.write_table(
            client, self.app, self.route.queue_name, poll, ready, seen, self.log
        )

    async def _dispatch(self, client: PrefectClient, due: list[Task], recovery: Recovery) -> None:
        finished = await runs.last_finished_runs(client, self.app.name, [t.id for t in due])
        limiter = anyio.CapacityLimiter(_CONCURRENT_CREATES)

        # Created side by side, but due in the board's order.
        now = datetime.now(UTC)
        order = {t.id: now - timedelta(milliseconds=len(due) - i) for i, t in enumerate(due)}

        async def create(task: Task) -> None:
            async with limiter:
                last = finished.get(task.id)
                if last is not None and await recovery.resume(last, task):
                    return
                try:
                    await runs.dispatch(
                        client,
                        self.app.name,
                        self.route,
                        task,
                        visit=str(last.id) if last else "first",
                        scheduled_time=order[task.id],
                        parent_task_run_id=await _placeholder(client, self.route, task),
                    )
                except DispatchError as exc:
                    self.notes.append(str(exc))
                else:
                    self.created.append(task)
                    control.wake()

        async with anyio.create_task_group() as group:
            for task in due:
                group.start_soon(create, task)


_boards_away: set[str] = set()


def _board_is_away(app: str, error: BoardUnavailableError, log: Log) -> State[None]:
    """Dispatch pauses until the board can be read again; that is said once."""
    if app not in _boards_away:
        log.error("The board is away; nothing is dispatched until it is back: %s", error)
        _boards_away.add(app)
    return Failed(name="BoardUnavailable", message=str(error))


def _board_is_back(app: str, log: Log) -> None:
    if app in _boards_away:
        _boards_away.discard(app)
        log.info("The board is back.")


async def _placeholder(client: PrefectClient, route: Route, task: Task) -> UUID | None:
    """Create the task run in this poll that stands for a child run, as Prefect's UI links them."""
    context = FlowRunContext.get()
    poll: FlowRun | None = context.flow_run if context else None
    if poll is None:
        return None
    stand_in = PrefectTask(name=f"{names.AGENT_FLOW}/{route.queue_name}", fn=_nothing)
    run = await client.create_task_run(
        task=stand_in, flow_run_id=poll.id, dynamic_key=task.id, name=task.name, state=Pending()
    )
    return run.id


def _nothing() -> None:
    """Stand in for the child run in the poll's graph."""
