"""Telling people that they are asked something: by the list, an event, and on the card."""

from __future__ import annotations

import logging

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
