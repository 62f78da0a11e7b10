"""Questions of agents to people: ask, look, answer, and what ends one that nobody answers.

What a person says is data: it is cut, cleaned, and quoted in the prompt. The board hears of each
step by a comment; if it is away, only Prefect knows, which is what counts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.errors import (
    InvalidAnswerError,
    QuestionClosedError,
    QuestionNotFoundError,
)
from athanore.models import EventKind
from athanore.routing.routes import Route
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Ending, Fate, Question
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App
from athanore.services.access import PrefectAccess
from athanore.services.people import answer_forms
from athanore.services.people.telling import made_known, say_asked, say_on_card
from athanore.services.showing.views import QuestionView
from athanore.texts import cut, readable

LONGEST_WAIT = 45
"""Seconds that an agent may wait in one call: programs in between give up after 60."""

MOST = 20
"""How many questions one run may ask."""

_LONGEST_QUESTION = 2000
LONGEST_ANSWER = 4000
LONGEST_NAME = 100
_LOOK = 2.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What an agent asks; see `Question`."""

    text: str
    choices: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None


async def ask(
    access: PrefectAccess, app: App, route: Route | None, run: FlowRun, asked: Asked
) -> Question:
    """Ask people something, once: the same words again are the same question.

    Args:
        route: the route of the run, which says how long there is to answer.
        run: the run whose agent asks.

    Raises:
        InvalidAnswerError: no answer could fit what is asked.
        DispatchError: the run has asked too much already.
    """
    answer_forms.check(asked.choices, asked.schema)
    text = cleaned(app, asked.text, _LONGEST_QUESTION)
    choices = tuple(cleaned(app, c, LONGEST_NAME) for c in asked.choices)
    schema = app.redactor.value(asked.schema)
    question_id = questions.id_of(run.id, text, choices, schema)
    async with access.client() as prefect:
        there = await questions.of_run(prefect, run.id)
        question = next((q for q in there if q.id == question_id), None)
        if question is None:
            if len(there) >= MOST:
                raise QuestionClosedError(
                    f"This run has asked {MOST} questions already; decide by yourself, and say in "
                    "a comment how."
                )
            now = app.clock.now()
            limit = None if route is None else route.ask_timeout
            question = Question(
                id=question_id,
                run_id=run.id,
                task_id=names.task_of(run.tags) or "",
                text=text,
                asked_at=now,
                choices=choices,
                schema=schema,
                expires_at=None if limit is None else now + limit,
                default=None if route is None else route.ask_default,
                attempt=record_of(run).attempt,
                by_comment=route is not None and route.answer_by_comment,
            )
            await questions.keep(prefect, question)
        is_new = await made_known(prefect, app, run, question)
    if is_new:
        await say_asked(app, question)
    return question


async def find(prefect: RunStore, app: App, question_id: str) -> Question:
    """Find a question that is open, or was a moment ago.

    Args:
        question_id: its id, or the beginning of it where no other open one begins so.

    Raises:
        QuestionNotFoundError: there is none, or there are several; the message names those that
            there are.
    """
    listed = await questions.all_listed(prefect, app.name)
    meant = [one for one in listed if one.id == question_id]
    if not meant and question_id:
        meant = [one for one in listed if one.id.startswith(question_id)]
    if len(meant) != 1:
        raise QuestionNotFoundError(question_id, [one.id for one in listed])
    return await of_run(prefect, meant[0].run_id, meant[0].id)


async def of_run(prefect: RunStore, run_id: UUID, question_id: str) -> Question:
    """One question of a run, whether it is open or not.

    Raises:
        QuestionNotFoundError: the run has no such question.
    """
    found = await questions.of_run(prefect, run_id)
    if mine := next((q for q in found if q.id == question_id), None):
        return mine
    raise QuestionNotFoundError(question_id, [q.id for q in found])


async def all_of_run(prefect: RunStore, run_id: UUID) -> list[Question]:
    """All questions of a run, as they were asked."""
    return await questions.of_run(prefect, run_id)


async def open_questions(prefect: RunStore, app: App) -> list[Question]:
    """All questions that wait for a person, the oldest first."""
    listed = await questions.all_listed(prefect, app.name)
    runs = dict.fromkeys(one.run_id for one in listed)
    of_runs = await asyncio.gather(*(questions.of_run(prefect, run_id) for run_id in runs))
    known = {one.id for one in listed}
    found = [q for of_run in of_runs for q in of_run if q.id in known and q.ending is None]
    return sorted(found, key=lambda q: q.asked_at)


async def answer(
    prefect: RunStore, app: App, question: Question, said: Any, by: str, words: str = ""
) -> Question:
    """Answer a question; of several answers the first one counts. A run that waits goes on.

    Args:
        said: a text, which may be JSON where the question has a schema.
        by: who answers, as they call themselves.
        words: why an approval is not given.

    Raises:
        QuestionClosedError: it is answered already, or nobody waits for it any more.
        InvalidAnswerError: the answer is none of the choices, or does not fit the schema.
    """
    if question.ending is not None:
        raise closed(question)
    now = app.clock.now()
    if question.expires_at is not None and now >= question.expires_at:
        raise closed(await expire(prefect, app, question))
    fitting = answer_forms.fitting(question, _cleaned_answer(app, said))
    who, why = cleaned(app, by, LONGEST_NAME), cleaned(app, words, LONGEST_ANSWER)
    ending = Ending(fate=Fate.ANSWERED, at=now, answer=fitting, by=who, reason=why)
    return await _end(prefect, app, question, ending)


async def expire(prefect: RunStore, app: App, question: Question) -> Question:
    """End a question whose time is over: by its default, or without an answer."""
    now = app.clock.now()
    if question.default is not None:
        by = "the default of its route"
        ending = Ending(fate=Fate.ANSWERED, at=now, answer=question.default, by=by)
    else:
        ending = Ending(fate=Fate.EXPIRED, at=now, reason="nobody has answered in time")
    try:
        return await _end(prefect, app, question, ending)
    except QuestionClosedError:
        return await of_run(prefect, question.run_id, question.id)


async def withdraw(prefect: RunStore, app: App, question: Question, why: str) -> None:
    """End a question that nobody needs an answer to any more."""
    ending = Ending(fate=Fate.WITHDRAWN, at=app.clock.now(), reason=why)
    try:
        await _end(prefect, app, question, ending)
    except QuestionClosedError:
        await questions.unlist(prefect, question.id)


async def wait(
    access: PrefectAccess,
    app: App,
    question: Question,
    seconds: float,
    is_alive: Callable[[], None] = lambda: None,
) -> Question:
    """Wait until a question is ended, but at most so long; return it as it is then.

    Args:
        is_alive: is called again and again, as a sign of life of the agent.

    The time of the agent's attempt stands still meanwhile: at once where that runs in this process,
    else once its worker has looked at the open questions.
    """
    control = app.local_runs.control_of(question.run_id)
    loop = asyncio.get_running_loop()
    seconds = min(seconds, LONGEST_WAIT)
    until = loop.time() + seconds
    if control is None and question.ending is None:
        async with access.client() as prefect:
            waits_until = app.clock.now() + timedelta(seconds=seconds)
            await questions.list_it(prefect, app.name, question, waits_until)
    with app.local_runs.waiting(question.run_id):
        while question.ending is None and (left := until - loop.time()) > 0:
            is_alive()
            pause = min(left, _LOOK)
            if control is None:
                await asyncio.sleep(pause)
            else:
                await control.waits.until_told(pause)
            async with access.client() as prefect:
                question = await current(prefect, app, question)
    return question


async def current(prefect: RunStore, app: App, question: Question) -> Question:
    """A question as it is now; one whose time is over is ended."""
    question = await of_run(prefect, question.run_id, question.id)
    due = question.expires_at
    if question.ending is None and due is not None and app.clock.now() >= due:
        return await expire(prefect, app, question)
    return question


def closed(question: Question) -> QuestionClosedError:
    """The refusal of an answer that comes too late."""
    ending = question.ending
    assert ending is not None
    if ending.fate is Fate.ANSWERED:
        text = f"Question {question.id!r} was answered by {ending.by}: {shown(question)}"
    elif ending.fate is Fate.EXPIRED:
        text = f"Question {question.id!r} has expired: {ending.reason}."
    else:
        text = f"Question {question.id!r} was withdrawn: {ending.reason}."
    return QuestionClosedError(text)


def shown(question: Question) -> str:
    """The answer in a line; "" where there is none."""
    if question.ending is None or question.ending.fate is not Fate.ANSWERED:
        return ""
    return cut(questions.in_words(question.ending.answer), LONGEST_ANSWER)


def first_line(question: Question) -> str:
    """The first line of what is asked; that of an approval says what it is about."""
    return question.text.partition("\n")[0]


def view(question: Question) -> QuestionView:
    """A question as people and agents are shown it."""
    ending = question.ending
    return QuestionView(
        id=question.id,
        task_id=question.task_id,
        run_id=str(question.run_id),
        state=question.fate.value,
        question=question.text,
        choices=question.choices,
        answer_schema=None if question.schema is None else dict(question.schema),
        asked_at=question.asked_at,
        expires_at=question.expires_at,
        default=question.default,
        answer=ending.answer if ending is not None and ending.fate is Fate.ANSWERED else None,
        answered_by=shown(question) and ending.by if ending is not None else "",
        reason="" if ending is None else ending.reason,
        is_approval=question.is_approval,
        commit=question.commit,
    )


async def _end(prefect: RunStore, app: App, question: Question, ending: Ending) -> Question:
    """Note the end of a question, tell everybody, and have its run go on if it waits.

    Raises:
        QuestionClosedError: it had another end before.
    """
    ended = replace(question, ending=ending)
    try:
        if not await questions.end(prefect, question, ending):
            raise closed(await of_run(prefect, question.run_id, question.id))
        run = await prefect.read_run(question.run_id)
    except ObjectNotFound:
        await questions.unlist(prefect, question.id)
        raise QuestionNotFoundError(question.id, []) from None
    await tell(app, ended, run.name)
    # What is left undone now, the sweep does: it looks at what is listed.
    if ending.fate is not Fate.WITHDRAWN and questions.waits_for(run) == question.id:
        await questions.resume(prefect, run, ended)
        app.local_runs.wake()
    await questions.unlist(prefect, question.id)
    if (control := app.local_runs.control_of(question.run_id)) is not None:
        control.waits.tell()
    return ended


async def tell(app: App, question: Question, task_name: str) -> None:
    """Say what became of a question: by an event, and on the card."""
    ending = question.ending
    assert ending is not None
    data: dict[str, str] = {"question_id": question.id}
    if ending.fate is Fate.ANSWERED:
        kind = EventKind.ANSWERED
        data |= {"answer": shown(question), "by": ending.by}
        text = f"Answer to question {question.id} by {ending.by}: {shown(question)}"
        text += f" ({ending.reason})" if ending.reason else ""
    else:
        kind = EventKind.EXPIRED if ending.fate is Fate.EXPIRED else EventKind.WITHDRAWN
        data |= {"reason": ending.reason}
        verb = "has expired" if ending.fate is Fate.EXPIRED else "is withdrawn"
        text = f"Question {question.id} {verb}: {ending.reason}."
    app.announcer.announce(question.task_id, kind, data, question.run_id, task_name)
    await say_on_card(app, question, text)


def _cleaned_answer(app: App, said: Any) -> Any:
    """An answer without secrets and control characters, and cut."""
    if isinstance(said, str):
        return cleaned(app, said, LONGEST_ANSWER)
    if len(json.dumps(said)) > LONGEST_ANSWER:
        raise InvalidAnswerError(f"An answer has at most {LONGEST_ANSWER} characters of JSON.")
    return app.redactor.value(said)


def cleaned(app: App, text: str, limit: int) -> str:
    """A text without secrets and control characters, and cut."""
    return cut(app.redactor.text(readable(text)).strip(), limit)


def since(question: Question, now: datetime) -> str:
    """When a question was asked, for people here: the time, and the date if that is not today's."""
    asked = question.asked_at.astimezone()
    is_today = asked.date() == now.astimezone().date()
    return f"{asked:%H:%M}" if is_today else f"{asked:%Y-%m-%d %H:%M}"


def is_due(question: Question, now: datetime) -> bool:
    """Tell whether the time of a question is over."""
    return question.expires_at is not None and now >= question.expires_at
