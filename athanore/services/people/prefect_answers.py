"""Answers that somebody has given on Prefect's own page, of which only Prefect has heard."""

from __future__ import annotations

from dataclasses import replace

from prefect.client.schemas.objects import FlowRun

from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.services.people import questions as use_cases


async def take(prefect: RunStore, app: App, run: FlowRun, question: Question) -> Question:
    """Note the end that a question has, and tell everybody, unless that was done before.

    Args:
        run: whose question it is.
        question: one with an end; by Prefect's page, if it is not noted.
    """
    ending = question.ending
    assert ending is not None
    said = ending.answer
    if isinstance(said, str):
        said = use_cases.cleaned(app, said, use_cases.LONGEST_ANSWER)
    by = use_cases.cleaned(app, ending.by, use_cases.LONGEST_NAME)
    ended = replace(ending, answer=app.redactor.value(said), by=by, at=app.clock.now())
    if not await questions.end(prefect, question, ended):
        return question
    question = replace(question, ending=ended)
    await use_cases.tell(app, question, run.name)
    return question
