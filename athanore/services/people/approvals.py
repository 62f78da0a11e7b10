"""Approval gates: no agent starts on a task, or nothing is published, before an operator says yes.

The gate is a question of the run itself, with its own words and choices, so that all that is true
of questions is true of it: the run waits suspended, on any host, over any restart.
"""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun

from athanore.errors import DispatchError, InvalidAnswerError, QuestionClosedError
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Fate, Question
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App
from athanore.services import tasks
from athanore.services.access import PrefectAccess
from athanore.services.people import questions as use_cases
from athanore.services.people import telling
from athanore.services.pull_requests import publishing
from athanore.workspaces.base import Shown

YES, NO = "yes", "no"
CHOICES = (YES, NO)

_SHORTEST_COMMIT = 7
_LONGEST = 2500
_COMMITS = 10


async def gate(
    prefect: RunStore, app: App, route: Route, run: FlowRun, task_id: str
) -> Question | None:
    """The approval that a run needs before its agent starts, asked if it was not; None if none."""
    if route.approve_before != "start":
        return None
    text = f"May an agent of route {route.name!r} start on this task?"
    question_id = questions.id_of(run.id, text, CHOICES, None)
    return await _asked(prefect, app, run, task_id, question_id, text)


async def publishing_gate(
    prefect: RunStore, app: App, route: Route, run: FlowRun, task: Task
) -> Question | None:
    """The approval that is needed before a branch is published; None if there is nothing to.

    It is about one commit, that of an agent that has succeeded. What another agent of the run has
    left is asked for anew, even if it is the same.

    Raises:
        PublishError: the branch cannot be looked at now.
    """
    record = record_of(run)
    for known in await questions.of_run(prefect, run.id):
        if known.id == record.question and known.commit:
            return known
    branch, shown = await publishing.show(app, route, task)
    if not shown.subjects:
        return None
    head = f"May the branch {branch!r} be published as it is at {shown.commit[:10]}?"
    key = f"{head} {shown.commit} {record.outcome_start}"
    question_id = questions.id_of(run.id, key, CHOICES, None)
    text = use_cases.cleaned(app, f"{head}\n{_described(shown)}", _LONGEST)
    return await _asked(prefect, app, run, task.id, question_id, text, shown.commit)


async def _asked(
    prefect: RunStore,
    app: App,
    run: FlowRun,
    task_id: str,
    question_id: str,
    text: str,
    commit: str = "",
) -> Question:
    """A question of a run, asked if it was not."""
    there = await questions.of_run(prefect, run.id)
    question = next((q for q in there if q.id == question_id), None)
    if question is None:
        question = Question(
            id=question_id,
            run_id=run.id,
            task_id=task_id,
            text=text,
            asked_at=app.clock.now(),
            choices=CHOICES,
            attempt=record_of(run).attempt,
            is_approval=True,
            commit=commit,
        )
        await questions.keep(prefect, question)
    if await telling.made_known(prefect, app, run, question):
        await telling.say_asked(app, question)
    return question


def _described(shown: Shown) -> str:
    """What is to be published, for the person who decides."""
    count = len(shown.subjects)
    newest = [f"- {subject[:100]}" for subject in shown.subjects[-_COMMITS:]]
    if count > _COMMITS:
        newest.insert(0, f"- ... and {count - _COMMITS} before")
    parts = [f"{count} commit{'s' if count > 1 else ''}:\n" + "\n".join(newest), shown.changes]
    if shown.sensitive:
        files = ", ".join(shown.sensitive[:_COMMITS])
        more = len(shown.sensitive) - _COMMITS
        parts.insert(
            0,
            f"It changes {files}{f' and {more} more' if more > 0 else ''}, which may have other "
            "programs run there, or others asked. A yes counts for that, too.",
        )
    return "\n\n".join([*parts, f"To look at it: {shown.how}"])


async def waiting(prefect: RunStore, app: App) -> list[Question]:
    """All tasks that wait for an approval, as the questions that they are; the oldest first."""
    return [q for q in await use_cases.open_questions(prefect, app) if q.is_approval]


async def approve(
    access: PrefectAccess, app: App, task_id: str, by: str, shown: str = ""
) -> Question:
    """Let the agent of a task start, or what it has committed be published.

    Args:
        shown: the id of the question that the person has seen, or the commit that it is about;
            "" if that is not known.

    Raises:
        TaskNotFoundError: no task has this id; the message names the open tasks.
        QuestionClosedError: the task waits for another approval by now than for the one `shown`.
        DispatchError: the task waits for no approval.
    """
    question = await _of_task(access, app, task_id, shown)
    async with access.client() as prefect:
        return await use_cases.answer(prefect, app, question, YES, by)


async def reject(
    access: PrefectAccess, app: App, task_id: str, by: str, words: str, shown: str = ""
) -> Question:
    """Have no agent start on a task, or nothing be published; why is said on its card.

    Args and errors are those of `approve`.

    Raises:
        InvalidAnswerError: the words are too many.
    """
    if len(words) > use_cases.LONGEST_ANSWER:
        raise InvalidAnswerError(
            f"A reason has at most {use_cases.LONGEST_ANSWER} characters, and this one has "
            f"{len(words)}."
        )
    question = await _of_task(access, app, task_id, shown)
    async with access.client() as prefect:
        return await use_cases.answer(prefect, app, question, NO, by, words)


def is_yes(question: Question) -> bool:
    """Tell whether an approval was given."""
    ending = question.ending
    return ending is not None and ending.fate is Fate.ANSWERED and ending.answer == YES


def refusal(question: Question) -> str:
    """Say who has not approved, and why."""
    ending = question.ending
    if ending is None:
        return "Not approved"
    why = f": {ending.reason}" if ending.reason else ""
    return f"Not approved by {ending.by or 'nobody'}{why}"


async def _of_task(access: PrefectAccess, app: App, task_id: str, shown: str) -> Question:
    async with access.client() as prefect:
        there = {q.task_id: q for q in await waiting(prefect, app)}
    if task_id not in there:  # the board may know a task that people call so
        task_id = (await tasks.read(app, task_id)).id
    if task_id not in there:
        raise DispatchError(
            f"Task {task_id!r} waits for no approval; `athanore questions` lists all."
        )
    question = there[task_id]
    is_commit = len(shown) >= _SHORTEST_COMMIT and question.commit.startswith(shown)
    if shown and shown != question.id and not is_commit:
        raise QuestionClosedError(
            f"Task {task_id!r} waits for another approval by now than the one that was shown "
            f"({shown}). It is question {question.id}: {use_cases.first_line(question)} "
            "`athanore questions` shows it."
        )
    return question
