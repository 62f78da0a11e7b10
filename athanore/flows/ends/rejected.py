"""A task to which an operator has said no."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from athanore.errors import BoardError
from athanore.logs import Log
from athanore.routing.routes import Route
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.services.people import approvals


async def rejected(app: App, route: Route, run_log: RunLog, gate: Question, log: Log) -> State[Any]:
    """Put the task aside, and end its run."""
    target, text = route.rejected_queue, approvals.refusal(gate)
    if target is not None:
        try:
            await app.board.move(gate.task_id, target, followed=False)
        except BoardError as exc:
            log.error("The task stays where it is: %s", exc, extra={"action": "move_refused"})
            text += f" (it cannot be moved to {target!r}: {exc})"
    await questions.unlist(run_log.prefect, gate.id)
    await run_log.close()
    return Cancelled(name=StateName.REJECTED, message=text)
