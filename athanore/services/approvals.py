"""Approval gates: no agent starts on a task before an operator says yes.

The gate is a question of the run itself, with its own words and choices, so that all that is true
of questions is true of it: the run waits suspended, on any host, over any restart.
"""

from __future__ import annotations

import shlex

from prefect.client.schemas.objects import FlowRun

from athanore.errors import DispatchError
from athanore.models import EventKind
from athanore.routes import Route
from athanore.runs import questions
from athanore.runs.port import RunStore
from athanore.runs.questions import Fate, Question
from athanore.runs.record import record_of
from athanore.runtime.apps import App
from athanore.services import questions as use_cases

YES, NO = "yes", "no"
CHOICES = (YES, NO)


async def gate(
    prefect: RunStore, app: App, route: Route, run: FlowRun, task_id: str
) -> Question | None:
    """The approval that a run needs before its agent starts, asked if it was not; None if none."""
    if route.approve_before != "start":
        return None
    text = f"May an agent of route {route.name!r} start on this task?"
    question_id = questions.id_of(run.id, text, CHOICES, None)
    for known in await questions.of_run(prefect, run.id):
        if known.id == question_id:
            return known
    question = Question(
        id=question_id,
        run_id=run.id,
        task_id=task_id,
        text=text,
        asked_at=app.clock.now(),
        choices=CHOICES,
        attempt=record_of(run).attempt,
        is_approval=True,
    )
    if await questions.keep(prefect, app.name, question):
        data = {"question_id": question.id, "question": question.text}
        app.announcer.announce(task_id, EventKind.ASKED, data, run.id)
        how = f"athanore approve {shlex.quote(task_id)} (or athanore reject)"
        await use_cases.say_on_card(app, question, f"Waits for an approval: {how}")
    return question


async def waiting(prefect: RunStore, app: App) -> list[Question]:
    """All tasks that wait for an approval, as the questions that they are; the oldest first."""
    return [q for q in await use_cases.open_questions(prefect, app) if q.is_approval]


async def approve(prefect: RunStore, app: App, task_id: str, by: str) -> Question:
    """Let the agent of a task start.

    Raises:
        DispatchError: the task waits for no approval.
    """
    question = await _of_task(prefect, app, task_id)
    return await use_cases.answer(prefect, app, question, YES, by)


async def reject(prefect: RunStore, app: App, task_id: str, by: str, words: str) -> Question:
    """Have no agent start on a task; why is said on its card.

    Raises:
        DispatchError: the task waits for no approval.
    """
    question = await _of_task(prefect, app, task_id)
    return await use_cases.answer(prefect, app, question, NO, by, words)


def is_yes(question: Question) -> bool:
    """Tell whether an approval was given."""
    ending = question.ending
    return ending is not None and ending.fate is Fate.ANSWERED and ending.answer == YES


async def _of_task(prefect: RunStore, app: App, task_id: str) -> Question:
    for question in await waiting(prefect, app):
        if question.task_id == task_id:
            return question
    raise DispatchError(f"Task {task_id!r} waits for no approval; `athanore questions` lists all.")
