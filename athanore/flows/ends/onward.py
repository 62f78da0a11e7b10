"""Where a task goes whose agent has succeeded: to `done_queue`, or as `then` says of its result, or
to where the agent had put it before it was published."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Scheduled

from athanore.errors import BoardError, DispatchError, ResultRefusedError, reason
from athanore.logs import Log
from athanore.models import Task
from athanore.routing import outputs
from athanore.routing.routes import Route
from athanore.runs.capacity import pausing
from athanore.runs.records.outputs import handed_in
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.texts import cut

_ASKED_AGAIN = timedelta(minutes=15)
"""When a function that failed is called again where the route says nothing else."""

_SHOWN = 1000  # characters of a result on a card


class _UndecidedError(Exception):
    """Nobody knows where the task goes; the message says why."""


type Say = Callable[[str], Awaitable[None]]


async def go_on(
    app: App,
    route: Route,
    run_log: RunLog,
    task: Task,
    say: Say,
    move: Callable[[str], Awaitable[bool]],
    log: Log,
) -> str | State[Any]:
    """Have a task in progress go on.

    Args:
        say: comments on the task.
        move: moves it, and says whether the board has done that.

    Returns:
        The queue where it is then. A state, if nobody knows where it goes: the route is paused,
        and a later start of the run asks again, without an agent.
    """
    target = run_log.record.goes_to or await _next_queue(app, route, run_log, task, say, log)
    if isinstance(target, State):
        return target
    here = task.queue_name
    if target is None:
        await say(f"Agent finished without moving the task; leaving it in {here!r}.")
        return here
    return target if await move(target) else here


async def _next_queue(
    app: App, route: Route, run_log: RunLog, task: Task, say: Say, log: Log
) -> str | State[Any] | None:
    if route.output is None or route.then is None:
        return route.done_queue
    kept = run_log.output
    if kept is None:
        start = run_log.record.outcome_start
        kept = await handed_in(run_log.prefect, run_log.run.id, start)
    try:
        if kept is None:
            raise _UndecidedError("there is no result of the agent any more")
        queue = await _decided(app, route, task, kept)
    except _UndecidedError as exc:
        return await _hold(app, route, run_log, task, str(exc), say, log)
    await say(f"Result: {cut(kept, _SHOWN)}")
    return None if queue == route.in_progress_queue else queue


async def _decided(app: App, route: Route, task: Task, kept: str) -> str | None:
    assert route.output is not None and route.then is not None
    name = getattr(route.then, "__name__", "the function")
    try:
        result = await asyncio.to_thread(outputs.read, route.output, kept)
    except ResultRefusedError as exc:
        raise _UndecidedError(f"the result fits output= no longer: {exc}") from exc
    try:
        queue = await outputs.call_then(route.then, task, result)
    except Exception as exc:
        failed = f"{name}(task, result) failed: {type(exc).__name__}: {reason(exc)}"
        raise _UndecidedError(failed) from exc
    if queue is None:
        return None
    there = [q.name for q in await app.board.queues()]
    if queue not in there:
        close = get_close_matches(queue, there, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        wrong = f"{name}(task, result) returned {queue!r}, and the board has no such queue{hint}"
        raise _UndecidedError(wrong)
    return queue


async def _hold(
    app: App,
    route: Route,
    run_log: RunLog,
    task: Task,
    why: str,
    say: Say,
    log: Log,
) -> State[Any]:
    """The code is at fault, and not the task: its route waits until that is mended."""
    now = app.clock.now()
    resume_at = now + (route.resume_after or _ASKED_AGAIN)
    why = app.redactor.text(why).rstrip(".")
    text = f"Route {route.name!r} is paused: nobody knows where task {task.id!r} goes: {why}."
    due = now
    try:
        await pausing.pause(
            run_log.prefect, app.name, route.name, was=route.was, reason=text, resume_at=resume_at
        )
    except DispatchError as exc:
        due = resume_at
        log.error("The route cannot be paused: %s", exc, extra={"action": "route_not_paused"})
    if run_log.kept() is None:
        try:
            await say(
                f"The agent has succeeded, and where the task goes is not known: {why}. Its result "
                "is kept, and the function is called again when the route goes on: "
                f"athanore resume {route.name!r}"
            )
        except BoardError as exc:
            log.warning("No comment: %s", exc, extra={"action": "comment_refused"})
    await run_log.keep()
    log.error(
        "%s Its result is kept. It is tried again at %s UTC; once it is mended: athanore resume %r",
        text,
        f"{resume_at:%H:%M}",
        route.name,
        extra={"action": "route_paused"},
    )
    app.local_runs.wake(due)
    return Scheduled(name=StateName.WAITING_TO_GO_ON, scheduled_time=due, message=text)
