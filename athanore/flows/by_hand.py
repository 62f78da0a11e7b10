"""Runs that are not this process's to perform: started by hand, or of a route that it lacks."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingConcurrencySlot, Cancelled, Completed

from athanore.errors import BoardError, DispatchError
from athanore.routing.routes import Route
from athanore.runs.port import RunStore
from athanore.runs.records.run_log import allow_another_start
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.services import runs

# Until a run is offered again whose route the process that had it does not have.
_ELSEWHERE = timedelta(seconds=30)


async def leave_to_others(prefect: RunStore, app: App, run: FlowRun, why: str) -> State[None]:
    """Give back a run whose route this process lacks: a worker that has it may be coming."""
    await allow_another_start(prefect, run)
    state: State[None] = AwaitingConcurrencySlot(scheduled_time=app.clock.now() + _ELSEWHERE)
    state.message = why
    return state


async def hand_over(prefect: RunStore, app: App, route: Route, task_id: str) -> State[None]:
    """A run that was started by hand hands over to the one that holds the task's lock."""
    try:
        board_task = await app.board.task(task_id)
    except BoardError as exc:
        return Cancelled(message=str(exc))
    if board_task.queue_name != route.queue_name:
        return Cancelled(
            message=f"Task {task_id!r} is in {board_task.queue_name!r}; "
            f"this route takes tasks from {route.queue_name!r}."
        )
    try:
        run = (await runs.dispatch(prefect, app, board_task, route.name)).run
    except DispatchError as exc:
        return Cancelled(message=str(exc))
    return Completed(
        name=StateName.HANDED_OVER, message=f"The task's run is {run.name!r} ({run.id})."
    )
