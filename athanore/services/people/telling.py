"""Telling people that they are asked something: by the list, an event, and on the card."""

from __future__ import annotations

import logging
import shlex

from prefect.client.schemas.objects import FlowRun

from athanore.errors import BoardError
from athanore.models import EventKind
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.port import RunStore
from athanore.runtime.apps import App

logger = logging.getLogger("athanore")


async def made_known(prefect: RunStore, app: App, run: FlowRun, question: Question) -> bool:
    """Have an open question found, and tell of it if nobody was told; True: its card has to be.

    Whoever asks again thus makes up for an asker that was lost before anybody was told.
    """
    if question.ending is not None:
        return False
    if is_new := not await questions.is_listed(prefect, question.id):
        data = {"question_id": question.id, "question": question.text}
        app.announcer.announce(question.task_id, EventKind.ASKED, data, run.id, run.name)
    await questions.list_it(prefect, app.name, question)
    return is_new


async def say_asked(app: App, question: Question) -> None:
    """Comment on the task of a question what is asked, and how it is answered."""
    text = f"Question {question.id}: {question.text}{_how(question)}"
    if question.is_approval:
        how = f"athanore approve {shlex.quote(question.in_commands)} (or athanore reject)"
        text = f"Waits for an approval: {how}"
        text += f"\n\n{question.text}" if question.commit else ""
    await say_on_card(app, question, text)


async def say_on_card(app: App, question: Question, text: str) -> None:
    """Comment on the task of a question, if the board takes it."""
    try:
        await app.board.comment(question.task_id, text)
    except BoardError as exc:
        logger.warning(
            "No comment on task %s: %s",
            question.task_id,
            exc,
            extra={"action": "comment_refused"},
        )


def _how(question: Question) -> str:
    """How a question is answered, for people who read the card."""
    lines = [f"\n- {choice}" for choice in question.choices]
    example = question.choices[0] if question.choices else "TEXT"
    how = f"\n\nTo answer: athanore answer {question.id} {shlex.quote(example)}"
    how += f", or with a comment: /answer {example}" if question.by_comment else ""
    if question.expires_at is not None:
        then = "it is given up" if question.default is None else f"{question.default!r} counts"
        how += f"\nAfter {question.expires_at:%Y-%m-%d %H:%M} UTC {then}."
    return "".join(lines) + how
