"""What becomes of a start that does not end by itself: stopped, or of a run that is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn

from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Suspended

from athanore.errors import BoardError
from athanore.flows.ends import hooks
from athanore.flows.ends.outcome import Conclusion
from athanore.flows.ends.task_place import TaskPlace
from athanore.logs import Log
from athanore.models import AgentResult
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.runtime.leases import verdict
from athanore.runtime.leases.local_runs import RunControl, StopReason

_LOOKS = 20
_LOOK_EVERY = 0.5  # seconds

_NOT_OURS = frozenset(
    {StopReason.TAKEN_OVER, StopReason.SUSPENDED, StopReason.ENDED, StopReason.DELETED}
)
"""Why an agent is stopped whose run has a state that somebody else has set."""


async def is_ours(book: RunLog) -> bool:
    """Tell whether a run is still that start's; one that was deleted is nobody else's."""
    try:
        return await book.is_ours()
    except ObjectNotFound:
        return True


def unless_killed(handle: RunControl, result: AgentResult | None) -> AgentResult | None:
    """What an attempt came to whose lease was over: most likely the reaper has killed the agent."""
    if result is None or result.succeeded or handle.reason is not None:
        return result
    handle.stop(StopReason.CUT_OFF)
    return None


async def stopped(
    app: App,
    route: Route,
    book: RunLog,
    handle: RunControl,
    log: Log,
    *,
    unsure: bool,
    usage: Mapping[str, Any],
) -> State[Any]:
    """See to the task of an agent that was stopped, and return the state of its run.

    Args:
        unsure: Prefect was away, so that the run may have been taken over.
        usage: what the agent has used.

    Raises:
        Abort: the state is not ours to set.
    """
    reason, message = handle.reason, handle.message
    assert reason is not None, "nobody has stopped it"
    unsure = unsure or reason is StopReason.CUT_OFF
    if unsure and reason not in _NOT_OURS and not await is_ours(book):
        reason, message = await _why_not_ours(book)
    if reason not in _NOT_OURS:
        await book.spent(usage)
        conclusion = Conclusion(app, route, book, handle.task_id, log)
        return await conclusion.stopped(reason, message)
    log.warning("The agent was stopped: %s.", message, extra={"action": "agent_stopped"})
    await _let_go(app, route, book, reason, message, log)
    raise Abort(f"The agent was stopped: {message}.")


async def not_counted(app: App, route: Route, book: RunLog, log: Log) -> NoReturn:
    """See to the task of an agent that ended while Prefect was away, and whose run is not its own.

    Raises:
        Abort: the state is not ours to set.
    """
    reason, message = await _why_not_ours(book)
    log.warning(
        "What the agent came to does not count: %s.",
        message,
        extra={"action": "result_not_counted"},
    )
    await _let_go(app, route, book, reason, message, log)
    raise Abort(f"What the agent came to does not count: {message}.")


async def run_deleted(app: App, route: Route, book: RunLog, state: State[Any], log: Log) -> None:
    """Bury the task of a deleted run, if that was its last attempt: no hook does it.

    Raises:
        Abort: there is no run any more that could have a state.
    """
    if state.is_failed():
        await _bury(app, route, book, state.message or "failed", log)
    raise Abort("The run was deleted in Prefect; its task has been seen to.")


async def _why_not_ours(book: RunLog) -> verdict.Verdict:
    """What a worker that was cut off would have heard of its run."""
    try:
        now: FlowRun | None = await book.prefect.read_run(book.run.id)
    except ObjectNotFound:
        now = None
    found = None if book.start is None else verdict.judge(book.start, now)
    return found or (StopReason.TAKEN_OVER, "its run was taken over")


async def _let_go(
    app: App, route: Route, book: RunLog, reason: StopReason, message: str, log: Log
) -> None:
    """See to the task of a start whose run is not its own any more; its agent is dead."""
    conclusion = Conclusion(app, route, book, str(book.run.parameters["task_id"]), log)
    if reason is StopReason.DELETED:
        await conclusion.stopped(reason, message)
        return
    try:
        now = await _after_a_look(book)
    except ObjectNotFound:
        book.is_deleted = True
        await conclusion.stopped(StopReason.DELETED, "its run was deleted in Prefect")
        return
    if book.start is not None and verdict.has_forgotten(book.start, now):
        await _return(app, route, book, str(book.run.parameters["task_id"]), log)
        return
    if book.start is None or record_of(now).is_given_up(book.start):
        return  # whoever has the run now sees to the task
    if record_of(now).is_closed:
        pass  # whoever ended the run has seen to it
    elif reason is StopReason.ENDED:
        await _ended(app, route, book, conclusion, now, message, log)
    elif reason is StopReason.SUSPENDED:
        await conclusion.stopped(reason, message)
        await _make_resumable(book.prefect, now)
    await book.leave()


async def _after_a_look(book: RunLog) -> FlowRun:
    """The run as it is now; where Prefect was restored, once another start has looked at its task.

    That one does not know that this start has claimed the task, and finds nothing to do.

    Raises:
        ObjectNotFound: it is deleted.
    """
    now = await book.prefect.read_run(book.run.id)
    for _ in range(_LOOKS):
        if book.start is None or not verdict.may_find_nothing(book.start, now):
            break
        await asyncio.sleep(_LOOK_EVERY)
        now = await book.prefect.read_run(book.run.id)
    return now


async def _return(app: App, route: Route, book: RunLog, task_id: str, log: Log) -> None:
    """Return a task whose run says nothing of this start, and is left as it is."""
    other = (await store.active_runs(book.prefect, app.name, [task_id])).get(task_id)
    if other is not None and other.id != book.run.id:
        return  # that has it now
    place = TaskPlace(app, book, task_id, log, interrupted=False)
    if await place.queue() == route.in_progress_queue:
        await place.comment(f"Agent stopped: {verdict.FORGOTTEN} Moving back to source queue.")
        await place.move(route.queue_name)


async def _ended(
    app: App,
    route: Route,
    book: RunLog,
    conclusion: Conclusion,
    now: FlowRun,
    message: str,
    log: Log,
) -> None:
    """Somebody has set a final state by hand."""
    match now.state_type:
        case StateType.CANCELLED:
            said = now.state.message if now.state else None
            await conclusion.stopped(StopReason.CANCELLED, said or "")
        case StateType.FAILED:
            text = f"Agent stopped: {message}."
            if await _bury(app, route, book, text, log, opening=text):
                await book.close()
        case _:
            await conclusion.stopped(StopReason.ENDED, message)


async def _make_resumable(prefect: RunStore, run: FlowRun) -> None:
    """A pause in place is continued by its process, and that has stopped: make it a suspension."""
    state = run.state
    if state is None or state.type is not StateType.PAUSED or state.state_details.pause_reschedule:
        return
    await prefect.impose(run.id, Suspended(message=state.message))


async def _bury(
    app: App, route: Route, book: RunLog, reason: str, log: Log, opening: str | None = None
) -> bool:
    try:
        await hooks.bury(app, route, book.run, reason, log, opening=opening)
    except BoardError as exc:
        log.error(
            "The dead letter waits for the next poll: %s",
            exc,
            extra={"action": "dead_letter_delayed"},
        )
        return False
    return True
