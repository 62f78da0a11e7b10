"""Answers that people write on the card: `/answer TEXT`, where the board vouches for the author.

Of the comments after the question, the first one that fits counts. Our own account answers nothing:
agents write by it. Approvals are never given so.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta

from athanore.errors import InvalidAnswerError, QuestionClosedError
from athanore.models import Comment, Task
from athanore.queue_adapters.base import HasUser
from athanore.runs.kept.questions import Question
from athanore.runs.port import RunStore
from athanore.runtime.apps import App
from athanore.services.people import questions, telling

logger = logging.getLogger("athanore")

_COMMAND = re.compile(
    r"/answer(?:[ \t]+(?P<id>[0-9a-f]{4,10})(?=\s|$))?(?:\s+|$)(?P<text>.*)", re.S
)
_MOST_SELDOM = timedelta(minutes=5)
_SHARE = 20
"""A card is read again after one part in so many of the time for which its question is open."""


def is_to_look(app: App, question: Question) -> bool:
    """Tell whether to read the card of a question now: the longer it is open, the more seldom."""
    if not question.by_comment or question.is_approval:
        return False
    noted, now = app.noted, app.noted.monotonic()
    if now < noted.comments_due.get(question.id, 0.0):
        return False
    age = app.clock.now() - question.asked_at
    noted.comments_due[question.id] = now + min(_MOST_SELDOM, age / _SHARE).total_seconds()
    return True


async def look(prefect: RunStore, app: App, question: Question, others: Sequence[Question]) -> None:
    """Take the answer to an open question from the comments on its task, if there is one.

    Args:
        others: the other open questions of the same task.

    Raises:
        BoardError: the board cannot be read.
    """
    task = await app.board.task(question.task_id)
    adapter = app.board.adapter
    own = await app.board.call(lambda: adapter.user) if isinstance(adapter, HasUser) else None
    refused = 0
    for comment in _after(question, task):
        found = _COMMAND.fullmatch(comment.text.strip())
        if found is None or not comment.author_may_write or comment.author in (None, own):
            continue
        which, text = found["id"] or "", found["text"].strip()
        if which and not any(q.id.startswith(which) for q in (question, *others)):
            which, text = "", f"{which} {text}".strip()  # a word of the answer
        if which and not question.id.startswith(which):
            continue
        try:
            if not which and others:
                ids = ", ".join(q.id for q in (question, *others))
                raise InvalidAnswerError(f"Several are open ({ids}): /answer ID TEXT.")
            by = f"{comment.author} (comment)"
            await questions.answer(prefect, app, question, text, by)
        except InvalidAnswerError as exc:
            refused += 1
            opening = f"No answer to question {question.id}:"
            if refused > sum(c.text.startswith(opening) for c in task.comments):
                await telling.say_on_card(app, question, f"{opening} {exc}")
        except QuestionClosedError:
            return
        else:
            logger.info(
                "Question %s is answered by a comment of %s.",
                question.id,
                comment.author,
                extra={"action": "answered_by_comment"},
            )
            return


def _after(question: Question, task: Task) -> Iterator[Comment]:
    """The comments after a question: its own comment tells where it begins, else the time."""
    opening = f"Question {question.id}:"
    begins = next((n for n, c in enumerate(task.comments) if c.text.startswith(opening)), None)
    for number, comment in enumerate(task.comments):
        if begins is not None:
            if number > begins:
                yield comment
        elif comment.created_at is not None and comment.created_at > question.asked_at:
            yield comment
