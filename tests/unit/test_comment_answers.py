"""Answers by comments on the card: who may, to which question, and once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from athanore.errors import ConfigurationError
from athanore.flows.sweeping import open_questions
from athanore.launch.inspection.checks import check_app
from athanore.models import Comment, Task
from athanore.queue_adapters.github.issues import comment as github_comment
from athanore.runs.kept.questions import Fate
from athanore.services.people import approvals, comment_answers
from athanore.services.people import questions as use_cases
from tests.asking_site import Asking
from tests.harness import prompt
from tests.memory_store import no_events
from tests.rules_site import Board
from tests.unit.test_approvals import gated

__all__ = ["no_events"]


class Vouching(Board):
    """A board that knows of some people that they may write to it."""

    vouches_for_authors = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.people: list[Comment] = []

    def get_task(self, task_id: str) -> Task:
        task = super().get_task(task_id)
        return replace(task, comments=(*task.comments, *self.people))

    def says(self, text: str, author: str = "eve", *, may: bool = True) -> None:
        self.people.append(Comment(text, author, author_may_write=may))


class Site(Asking):
    """A site with such a board."""

    board: Vouching

    def queues(self) -> Vouching:
        known = super().queues()
        return Vouching([q.name for q in known.list_queues()], user="athanore")

    async def looks(self) -> Fate:
        self.app.noted.comments_due.clear()
        await open_questions.look_after(self.client, self.app, {})
        return (await use_cases.of_run(self.client, self.run.id, self.question.id)).fate


async def site(phase: str = "suspended", *choices: str, **options: Any) -> Site:
    made = await Site.made("works", answer_by_comment=True, **options)
    assert isinstance(made, Site)
    if choices:
        await use_cases.withdraw(made.client, made.app, made.question, "another is asked")
        made.question = await made.asked("Keep the table?", *choices)
    if phase == "suspended":
        await made.suspended()
    return made


@pytest.mark.parametrize("phase", ["suspended", "works"])
async def test_a_comment_of_somebody_who_may_write_answers_once(phase: str) -> None:
    here = await site(phase)
    assert "or with a comment: /answer TEXT" in here.comments[-1]
    assert await here.looks() is Fate.PENDING
    here.board.says("/answer green, and\nnot too dark")
    here.board.says("/answer red")
    assert [await here.looks() for _ in range(2)] == [Fate.ANSWERED] * 2
    known = await use_cases.of_run(here.client, here.run.id, here.question.id)
    assert known.ending is not None
    assert (known.ending.answer, known.ending.by) == (
        "green, and\nnot too dark",
        "eve (comment)",
    )


@pytest.mark.parametrize(
    ("text", "author", "may"),
    [
        ("/answer red", "mallory", False),
        ("/answer red", "athanore", True),
        ("I would /answer red", "eve", True),
        ("/answers red", "eve", True),
        ("> /answer red", "eve", True),
    ],
)
async def test_what_is_no_answer(text: str, author: str, may: bool) -> None:
    here = await site()
    before = len(here.comments)
    here.board.says(text, author, may=may)
    assert await here.looks() is Fate.PENDING
    assert len(here.comments) == before + 1, "nothing is said about it"


async def test_a_comment_before_the_question_is_none() -> None:
    here = await site()
    here.board.says("/answer red")
    here.board.people[0] = replace(here.board.people[0], created_at=here.question.asked_at)
    (own,) = [c for c in here.board.get_task(here.task_id).comments if "Question" in c.text]
    here.board.people.append(own)  # after what eve says

    def get_task(task_id: str) -> Task:
        return replace(Board.get_task(here.board, task_id), comments=tuple(here.board.people))

    here.board.get_task = get_task
    assert await here.looks() is Fate.PENDING


async def test_an_answer_that_does_not_fit_is_refused_once_on_the_card() -> None:
    here = await site("suspended", "delete", "keep")
    here.board.says("/answer burn")
    assert [await here.looks() for _ in range(3)] == [Fate.PENDING] * 3
    said = [c for c in here.comments if c.startswith("No answer to question")]
    assert len(said) == 1 and "'delete', 'keep'" in said[0]
    here.board.says("/answer keep")
    assert await here.looks() is Fate.ANSWERED


async def test_of_several_questions_the_id_says_which() -> None:
    here = await site("works")
    other = await here.asked("Which size?")
    here.board.says("/answer large")
    assert await here.looks() is Fate.PENDING
    assert sum("Several are open" in c for c in here.comments) == 2, "each says it once"
    here.board.says(f"/answer {other.id[:6]} large")
    assert await here.looks() is Fate.PENDING
    known = await use_cases.of_run(here.client, here.run.id, other.id)
    assert known.ending is not None and known.ending.answer == "large"
    here.board.says("/answer green")
    assert await here.looks() is Fate.ANSWERED


async def test_a_word_that_looks_like_an_id_is_a_word() -> None:
    here = await site()
    here.board.says("/answer decade of it")
    assert await here.looks() is Fate.ANSWERED
    known = await use_cases.of_run(here.client, here.run.id, here.question.id)
    assert known.ending is not None and known.ending.answer == "decade of it"


async def test_it_is_off_unless_it_is_asked_for_and_never_approves() -> None:
    made = await Site.made("suspended")
    assert isinstance(made, Site)
    made.board.says("/answer red")
    assert await made.looks() is Fate.PENDING
    gate = await gated(answer_by_comment=True)
    assert not comment_answers.is_to_look(gate.app, gate.question)
    assert len(await approvals.waiting(gate.client, gate.app)) == 1


async def test_a_card_is_read_the_more_seldom_the_longer_its_question_is_open() -> None:
    here = await site()
    here.app.noted.monotonic = lambda: 1000.0
    assert comment_answers.is_to_look(here.app, here.question)
    assert not comment_answers.is_to_look(here.app, here.question)
    here.app.noted.monotonic = lambda: 1400.0
    assert comment_answers.is_to_look(here.app, here.question), "at least every five minutes"


def test_a_board_that_cannot_vouch_is_refused(tmp_path: Any) -> None:
    dispatcher = AgentDispatcher("true", queue_backend=JsonFileAdapter(tmp_path / "b.json"))
    dispatcher.route("Todo", answer_by_comment=True)(prompt)
    with pytest.raises(ConfigurationError, match="answer_by_comment=True needs a board that"):
        check_app(dispatcher)


@pytest.mark.parametrize(
    ("association", "kind", "body", "may"),
    [
        ("OWNER", "User", "/answer x", True),
        ("MEMBER", "User", "/answer x", True),
        ("COLLABORATOR", "User", "/answer x", True),
        ("CONTRIBUTOR", "User", "/answer x", False),
        ("NONE", "User", "/answer x", False),
        ("OWNER", "Bot", "/answer x", False),
    ],
)
def test_github_vouches_for_who_may_write(
    association: str, kind: str, body: str, may: bool
) -> None:
    user = {"login": "eve", "type": kind}
    row: Any = {
        "id": 7, "body": body, "user": user, "created_at": "2026-01-01T00:00:00Z",
        "author_association": association,
    }  # fmt: skip
    assert github_comment(row)[0].author_may_write is may
