"""Why a start gets no agent: what the board refuses, whose the task is, a label without a slot.

What the board refuses for good pauses the route after a while.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from athanore.errors import (
    AgentChoiceError,
    AnswerLostError,
    AthanoreError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    DispatchError,
    MatchError,
    NotFoundError,
    TaskMovedError,
    TaskNotOursError,
)
from athanore.flows import retry
from athanore.logs import Log
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs.capacity import label_caps, pausing
from athanore.runs.port import RunStore
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.noted import Refused

_ASKED_SOON = timedelta(seconds=15)
_ASKED_AGAIN = timedelta(minutes=15)
"""When what the board refused is asked for again, by default."""

_READ_AGAIN = timedelta(minutes=1)
"""And what failed otherwise at the end of an attempt, at most."""


def soon(route: Route, times: int = 0) -> timedelta:
    """After how long a start that had to wait is made again, however seldom the route is polled.

    Args:
        times: how often it had to wait for the same reason before.
    """
    return min(route.poll_interval, _ASKED_SOON * 2 ** min(times, 10))


async def refused_until(
    prefect: RunStore,
    app: App,
    route: Route,
    run_id: UUID,
    refusal: BoardError,
    log: Log,
    *,
    is_taken_of_others: bool,
) -> datetime:
    """Say when the board is asked again for what it has refused to the end of an attempt.

    Where it refuses more than this task, its route is paused. That is so of a refusal that is new,
    of what it takes of no other task; one that outlasts a pause is of the task.
    """
    now = app.clock.now()
    if not isinstance(refusal, BoardAccessError):
        return now + min(route.poll_interval, _READ_AGAIN)
    if is_taken_of_others or not app.noted.end_refused_anew(run_id):
        return now + min(route.resume_after or _ASKED_AGAIN, _ASKED_AGAIN)
    await pause_for_board(prefect, app, route, refusal, log)
    return now


async def pause_for_board(
    prefect: RunStore, app: App, route: Route, refusal: BoardAccessError, log: Log
) -> None:
    """No agent starts whose work the board would not be told of; it is asked again later."""
    resume_at = app.clock.now() + (route.resume_after or _ASKED_AGAIN)
    text = f"Route {route.name!r} is paused: {refusal.in_short}. {refusal}"
    try:
        await pausing.pause(
            prefect, app.name, route.name, was=route.was, reason=text, resume_at=resume_at
        )
    except DispatchError as exc:
        log.error("The route cannot be paused: %s", exc, extra={"action": "route_not_paused"})
    else:
        log.error(
            "%s It tries again at %s UTC; once that is mended: athanore resume %r",
            text,
            f"{resume_at:%H:%M}",
            route.name,
            extra={"action": "route_paused"},
        )


async def claim_refused(
    app: App, route: Route, error: BoardError, look: Callable[[], Awaitable[object]], log: Log
) -> BoardAccessError | None:
    """Note that the board refused a claim; return the refusal once it is there to stay.

    A board that can be read, and refuses for `Margins.board_access`, is not away.

    Args:
        look: a read of the board.
    """
    if not isinstance(error, (BoardAccessError, BoardUnavailableError)):
        return None
    if isinstance(error, BoardUnavailableError) and not await retry.answers(look):
        app.noted.refused.pop(route.name, None)  # it is away, which the poll says
        return None
    now, patience = app.noted.monotonic(), app.margins.board_access.total_seconds()
    before = app.noted.refused.get(route.name)
    if before is None or now - before.last > max(patience, 2 * route.poll_interval.total_seconds()):
        app.noted.refused[route.name] = Refused(now, now)
        log.error(
            "No agent can start: %s It is tried again.", error, extra={"action": "claim_refused"}
        )
        return None
    app.noted.refused[route.name] = Refused(before.since, now)
    if now - before.since <= patience:
        return None
    app.noted.refused.pop(route.name)
    return error if isinstance(error, BoardAccessError) else retry.refuses_this(error)


async def not_claimed(
    prefect: RunStore,
    app: App,
    route: Route,
    run_log: RunLog,
    task_id: str,
    error: AthanoreError,
    log: Log,
) -> State[None] | None:
    """Say how a start ends whose task could not be read, or not be claimed; None: it waits.

    Raises:
        AthanoreError: it is none of these errors.
    """
    if isinstance(error, TaskMovedError | NotFoundError | TaskNotOursError):
        await run_log.leave()
        taken = isinstance(error, TaskNotOursError)
        name = StateName.SUPERSEDED if taken else StateName.NOTHING_TO_DO
        return Cancelled(name=name, message=str(error))
    if isinstance(error, BoardError):
        if isinstance(error, AnswerLostError):
            await run_log.keep_claim()
        lasting = await claim_refused(app, route, error, lambda: app.board.task(task_id), log)
        if lasting is not None:
            await pause_for_board(prefect, app, route, lasting, log)
    elif not isinstance(error, MatchError | AgentChoiceError):
        raise error
    return None


def failed_function(error: AthanoreError) -> str:
    """The option whose function is at fault, for a person to mend; "" for other errors."""
    if isinstance(error, AgentChoiceError):
        return "agent"
    return "match" if isinstance(error, MatchError) else ""


async def no_label_slot(
    prefect: RunStore,
    app: App,
    route: Route,
    run_log: RunLog,
    read: Callable[[], Awaitable[Task]],
) -> str | None:
    """Say which label of a task has no slot; None if it may start. The labels are those of now.

    Args:
        read: the task; it is called only if the route limits labels.

    Raises:
        BoardError: the task could not be read.
    """
    if not route.label_limits:
        return None
    limits = label_caps.limits_of(route, await read())
    return await app.slots.no_label_slot(prefect, app.name, run_log, limits)
