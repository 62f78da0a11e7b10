"""Commands for what waits for a person: questions of agents, and approvals."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from athanore.cli.at_work import from_app, in_path, order
from athanore.cli.context import AppOption, AsJson, Connected, user, with_app
from athanore.cli.output import print_json, print_table, say, warn
from athanore.cli.tasks.typed import typed_task
from athanore.errors import ConfigurationError, DispatchError, NotFoundError
from athanore.launch.terminal.display import ago
from athanore.services.showing.views import QuestionView

if TYPE_CHECKING:
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App

_APPROVAL = re.compile(r"[0-9a-f]{10,40}")
"""The id of a question, or a commit with at least as many characters as are shown of one."""


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
        str,
        Parameter(
            name="TASK",
            help="Ids of tasks, their beginnings, parts of titles; or ids of approvals, or commits "
            "to publish, as `athanore questions` shows them.",
        ),
    ],
    all_: Annotated[
        bool, Parameter(name="--all", negative="", help="All tasks that wait for an approval.")
    ] = False,
    app: AppOption = None,
) -> int:
    """Say yes to tasks that wait for an approval (`approve_before`)."""
    if bool(tasks) is all_:
        raise ConfigurationError("Name tasks, or say --all.")

    there = _approvals(app)
    named = [q.id for q in there] if all_ else tasks
    refused = 0
    for name in named:
        try:
            _decide(name, "approve", there, app=app)
        except (DispatchError, NotFoundError) as exc:
            if len(named) == 1:
                raise
            refused += 1
            warn(str(exc))
    if not named:
        say("No task waits for an approval.")
    return 1 if refused else 0


def reject(
    task: Annotated[
        str, Parameter(name="TASK", help="The task, or the approval, as with `athanore approve`.")
    ],
    /,
    *,
    message: Annotated[
        str,
        Parameter(name=["--message", "-m"], allow_leading_hyphen=True, help="Why, for the card."),
    ] = "",
    app: AppOption = None,
) -> None:
    """Say no to a task that waits for an approval."""
    _decide(task, "reject", _approvals(app), message, app=app)


def _decide(
    typed: str,
    verb: Literal["approve", "reject"],
    there: Sequence[QuestionView],
    reason: str = "",
    *,
    app: str | None,
) -> None:
    """Say yes or no to one approval, and say to which.

    Args:
        typed: a task, or one of the approvals.
        there: those that are open; what a task asks by now in place of them is not answered.
    """
    try:
        _decide_on(typed, verb, there, reason, app=app)
    except NotFoundError as exc:
        if _APPROVAL.fullmatch(typed) is None:
            raise
        raise DispatchError(
            f"{exc} No approval that is open is called so either: it was decided, or something "
            "else is asked by now. `athanore questions` lists those that are open."
        ) from exc


@typed_task
def _decide_on(
    typed: str, verb: str, there: Sequence[QuestionView], reason: str, /, *, app: str | None
) -> None:
    known = _meant(typed, there)
    task, shown = (typed, "") if known is None else (known.task_id, known.id)

    async def action(client: PrefectRunStore, found: App) -> tuple[str, str]:
        from athanore.services.people import approvals

        parts = (Connected(client), found, task, user())
        if verb == "approve":
            asked = await approvals.approve(*parts, shown)
        else:
            asked = await approvals.reject(*parts, reason, shown)
        return asked.task_id, asked.text

    body = {"by": user(), "question": shown} | ({"reason": reason} if verb == "reject" else {})
    done = order(app, f"/tasks/{in_path(task)}/{verb}", body)
    told = None if done is None else (str(done["task_id"]), str(done["question"]))
    task_id, text = told or with_app(app, action)
    said = f"{verb.removesuffix('e')}ed".capitalize()
    say(f"{said}: {task_id} ({text.partition('\n')[0]})")


def _meant(typed: str, there: Sequence[QuestionView]) -> QuestionView | None:
    """The approval that somebody means; None if a task may be meant that waits for none."""
    by_task = [q for q in there if q.task_id == typed]
    is_id = _APPROVAL.fullmatch(typed)
    found = by_task or [q for q in there if is_id and (q.id == typed or q.commit.startswith(typed))]
    return found[0] if len(found) == 1 else None


def _approvals(app: str | None) -> list[QuestionView]:
    return [q for q in _open(app) if q.is_approval]


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
    # By its own id, a yes counts for the commit that is shown, and for none that comes later.
    which = shlex.quote(question.id if question.commit else question.task_id)
    return f"athanore approve {which} (or: athanore reject {which} -m TEXT)"
