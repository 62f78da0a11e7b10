"""Commands for what waits for a person: questions of agents, and approvals."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from athanore.cli.at_work import from_app, in_path, order
from athanore.cli.context import AppOption, AsJson, Connected, user, with_app
from athanore.cli.output import print_json, print_table, say
from athanore.cli.tasks.acting import TaskId
from athanore.cli.tasks.typed import typed_task
from athanore.errors import ConfigurationError
from athanore.launch.terminal.display import ago
from athanore.services.showing.views import QuestionView

if TYPE_CHECKING:
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App


def questions(*, app: AppOption = None, json: AsJson = False) -> None:
    """List the questions of agents that wait for a person, the oldest first."""

    there = _open(app)
    if json:
        print_json(there)
        return
    if not there:
        say("No agent waits for an answer.")
        return
    rows = ((q.id, q.task_id, f"{ago(q.asked_at)} ago", _in_a_line(q)) for q in there)
    print_table(("id", "task", "asked", "question"), rows, wraps="question")
    for question in there:
        head, _, more = question.question.partition("\n")
        if question.is_approval and more:
            say(f"\n{head}\n{more}\nThen: {_how_to_decide(question)}\n")
    if not all(q.is_approval for q in there):
        say("Answer one: athanore answer ID TEXT")


def answer(
    question: Annotated[str, Parameter(name="ID", help="The question's id.")],
    text: Annotated[
        str,
        Parameter(name="TEXT", allow_leading_hyphen=True, help="The answer; a choice if it has."),
    ],
    /,
    *,
    app: AppOption = None,
) -> None:
    """Answer a question of an agent; the task that waits for it goes on."""

    async def action(client: PrefectRunStore, found: App) -> str:
        from athanore.services.people import questions

        asked = await questions.find(client, found, question)
        return (await questions.answer(client, found, asked, text, user())).task_id

    body = {"answer": text, "by": user()}
    done = order(app, f"/questions/{in_path(question)}/answer", body)
    task_id = with_app(app, action) if done is None else str(done["task_id"])
    say(f"Answered; task {task_id} goes on.")


def approve(
    *tasks: Annotated[
        str, Parameter(name="TASK", help="The tasks: ids, their beginnings, or parts of titles.")
    ],
    all_: Annotated[
        bool, Parameter(name="--all", negative="", help="All tasks that wait for an approval.")
    ] = False,
    app: AppOption = None,
) -> None:
    """Say yes to tasks that wait for an approval (`approve_before`)."""
    if bool(tasks) is all_:
        raise ConfigurationError("Name tasks, or say --all.")

    ids = [q.task_id for q in _open(app) if q.is_approval] if all_ else tasks
    for task_id in ids:
        (_approve_one if all_ else _approve)(task_id, app=app)
    if not ids:
        say("No task waits for an approval.")


def _approve_one(task: str, /, *, app: str | None) -> None:
    async def action(client: PrefectRunStore, found: App) -> str:
        from athanore.services.people import approvals

        return (await approvals.approve(Connected(client), found, task, user())).task_id

    done = order(app, f"/tasks/{in_path(task)}/approve", {"by": user()})
    task_id = with_app(app, action) if done is None else str(done["task_id"])
    say(f"Approved: {task_id}.")


@typed_task
def _approve(task: str, /, *, app: str | None) -> None:
    _approve_one(task, app=app)


@typed_task
def reject(
    task: TaskId,
    /,
    *,
    message: Annotated[
        str,
        Parameter(name=["--message", "-m"], allow_leading_hyphen=True, help="Why, for the card."),
    ] = "",
    app: AppOption = None,
) -> None:
    """Say no to a task that waits for an approval."""

    async def action(client: PrefectRunStore, found: App) -> str:
        from athanore.services.people import approvals

        return (await approvals.reject(Connected(client), found, task, user(), message)).task_id

    body = {"by": user(), "reason": message}
    done = order(app, f"/tasks/{in_path(task)}/reject", body)
    task_id = with_app(app, action) if done is None else str(done["task_id"])
    say(f"Rejected: {task_id}.")


def _open(app: str | None) -> tuple[QuestionView, ...]:
    async def action(client: PrefectRunStore, found: App) -> tuple[QuestionView, ...]:
        from athanore.services.people.questions import open_questions, view

        return tuple(view(q) for q in await open_questions(client, found))

    there = from_app(app, tuple[QuestionView, ...], "/questions")
    return with_app(app, action) if there is None else there


def _in_a_line(question: QuestionView) -> str:
    if question.is_approval:
        return f"{question.question.partition('\n')[0]} {_how_to_decide(question)}"
    line = " ".join(question.question.split())
    return f"{line} [{' | '.join(question.choices)}]" if question.choices else line


def _how_to_decide(question: QuestionView) -> str:
    task = shlex.quote(question.task_id)
    return f"athanore approve {task} (or: athanore reject {task} -m TEXT)"
