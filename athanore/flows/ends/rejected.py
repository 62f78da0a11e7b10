"""A task to which an operator has said no."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from athanore.flows.ends.task_place import TaskPlace
from athanore.logs import Log
from athanore.routing.routes import Route
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.services.people import approvals


async def rejected(app: App, route: Route, run_log: RunLog, gate: Question, log: Log) -> State[Any]:
    """Put the task aside, and end its run.

    Raises:
        BoardError: the board is away, or refuses it for now; it may be repeated.
    """
    target, text = route.rejected_queue, approvals.refusal(gate)
    place = TaskPlace(app, run_log, gate.task_id, log, interrupted=False)
    if target is not None and not await place.move(target, followed=False):
        text += f" (it cannot be moved to {target!r})"
    await questions.unlist(run_log.prefect, gate.id)
    await run_log.close()
    return Cancelled(name=StateName.REJECTED, message=text)
