"""What happens after a run has ended: the dead letter, and the next stage of the pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from athanore import names
from athanore.errors import (
    BoardError,
    DispatchError,
    QueueNotFoundError,
    RouteError,
    TaskNotFoundError,
)
from athanore.flows.retry import PatientBoard
from athanore.logs import Log
from athanore.models import EventKind, Task
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.events import shapes
from athanore.runs.records.record import record_of
from athanore.runs.records.route_record import as_begun
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.boards.board import Board
from athanore.runtime.registry import registry
from athanore.runtime.routes.ownership import watched
from athanore.services import runs


async def dead_letter(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Give a task up whose attempts are exhausted: comment, and move it to the dead-letter queue.

    If the board is away for longer than a minute, the next poll does it.
    """
    found = await _app_and_route(flow_run)
    if found is None:
        return
    app, route = found
    log = flow_run_logger(flow_run, flow)
    try:
        # The engine may run a flow once more, and its hooks with it. Else an equal comment is one
        # of an earlier visit.
        again = flow_run.empirical_policy.retry_type == "in_process"
        await bury_failed(app, route, flow_run, state, log, once=again)
    except BoardError as exc:
        log.error(
            "The dead-letter move waits for the next poll: %s",
            exc,
            extra={"action": "dead_letter_delayed"},
        )
        return
    async with store.prefect_client() as prefect:
        await RunLog(prefect, flow_run, route.retry).close()
    app.local_runs.wake()


async def bury_failed(
    app: App, route: Route, run: FlowRun, state: State[Any], log: Log, *, once: bool = True
) -> None:
    """Give a task up whose run has failed for good; see `bury`.

    One that goes round in a circle does not go to a dead-letter queue that a route watches: that
    may be the circle.
    """
    reason = state.message or "failed"
    if state.name == StateName.NOT_PUBLISHED:
        await bury(app, route, run, reason, log, opening=reason, once=once)
        return
    if state.name != StateName.GOES_ROUND:
        await bury(app, route, run, reason, log, once=once)
        return
    async with store.prefect_client() as prefect:
        if route.dead_letter_queue in watched(await app.routes.read(prefect)):
            route = replace(route, dead_letter_queue=None)
    await bury(app, route, run, reason, log, opening=reason, once=once)


async def bury(
    app: App,
    route: Route,
    run: FlowRun,
    reason: str,
    log: Log,
    opening: str | None = None,
    *,
    once: bool = True,
) -> None:
    """Comment and move a task that has no attempt left: safe to repeat.

    Args:
        once: it may have been begun before; then an equal comment at the end is not repeated.

    A task that is no longer in progress is left alone; one whose dead-letter queue is gone from the
    board gets a comment about that, and stays in progress.

    Raises:
        BoardError: the board is away, or refuses it.
    """
    board, target = app.board, route.dead_letter_queue
    patient = PatientBoard(board, app.margins, log, app.margins.board)
    task_id = str(run.parameters["task_id"])
    record, why = record_of(run), ""
    if opening is None and record.result is not None and record.is_final:
        why = record.reason
        opening = f"Not retried, another attempt cannot help: {why}."
    elif opening is None:
        opening = f"Max retries ({route.retry.max_retries}) exhausted."
    text = opening + (
        " No dead-letter queue configured; leaving in place."
        if target is None
        else " Moving to dead-letter queue."
    )
    tail = "" if reason in (opening, why) else reason.removeprefix(f"{why}\n")
    try:
        task = await patient.until_it_answers(lambda: board.task(task_id))
        # The code may name another queue by now, and the board as well, or not.
        begun = as_begun(route, run).in_progress_queue
        if task.queue_name not in (route.in_progress_queue, begun):
            return
        await patient.say(task_id, text, tail=tail, once=once)
        if target is not None and not await _move(app, task, target, log):
            target = None
        _announce(app, run, task, target, reason)
    except TaskNotFoundError as exc:
        log.warning("No dead letter: %s", exc, extra={"action": "dead_letter_not_due"})


async def _move(app: App, task: Task, target: str, log: Log) -> bool:
    """Move a dead letter; False, with a comment, if the board has no such queue any more."""
    patient = PatientBoard(app.board, app.margins, log, app.margins.board)
    try:
        await patient.until_it_answers(lambda: app.board.move(task.id, target, followed=False))
    except QueueNotFoundError as exc:
        log.error(
            "The dead letter stays where it is: %s", exc, extra={"action": "dead_letter_refused"}
        )
        text = f"The board has no queue {target!r} any more; leaving the task where it is."
        await patient.say(task.id, text, once=True)
        return False
    return True


def _announce(app: App, run: FlowRun, task: Task, target: str | None, reason: str) -> None:
    """Tell by an event that a task was given up, and where it is."""
    related = {
        "prefect.resource.id": f"prefect.flow-run.{run.id}",
        "prefect.resource.role": "flow-run",
        "prefect.resource.name": run.name,
    }
    data: shapes.DeadLettered = {"queue": target or task.queue_name, "reason": reason}
    numbers: shapes.Numbers = {"seq": 1, "src": f"dead-letter-{str(run.id)[:13]}.{run.run_count}"}
    resource = names.task_labels(app.name, task.id, task.name)
    shapes.send(EventKind.DEAD_LETTERED, data, numbers, resource, [related])


async def comment_once(board: Board, task_id: str, text: str, ending: str | None = None) -> None:
    """Add a comment unless the newest one says the same already, or ends in these words."""
    comments = (await board.task(task_id)).comments
    newest = comments[-1].text if comments else ""
    if newest != text and not (ending and newest.endswith(ending)):
        await board.comment(task_id, text)


async def hand_on(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Dispatch the task at once if the agent moved it to a queue that another route watches."""
    if state.name == StateName.HANDED_OVER:
        return
    app = registry.of_run(flow_run.tags, str(flow_run.parameters["app"]))
    task_id = str(flow_run.parameters["task_id"])
    try:
        task = await app.board.task(task_id)
        async with store.prefect_client() as prefect:
            await runs.dispatch_if_watched(prefect, app, task)
            await runs.dispatch_unblocked(prefect, app, task_id)
    except (BoardError, DispatchError) as exc:
        flow_run_logger(flow_run, flow).warning(
            "The next poll dispatches the task: %s", exc, extra={"action": "dispatch_delayed"}
        )


async def _app_and_route(flow_run: FlowRun) -> tuple[App, Route] | None:
    parameters = flow_run.parameters
    app = registry.of_run(flow_run.tags, str(parameters["app"]))
    try:
        async with store.prefect_client() as prefect:
            route = await app.routes.find(prefect, parameters)
    except RouteError:
        return None
    return app, route
