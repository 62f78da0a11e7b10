"""`athanore approve` and `reject`: which approval is meant, and that nothing else is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from athanore.cli import people
from athanore.errors import DispatchError, NotFoundError, TaskNotFoundError
from athanore.services.showing.views import QuestionView

COMMIT = "0f8fad5b2c" + "1" * 30


class Board:
    """The task API of an app whose tasks wait for approvals."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *task_ids: str) -> None:
        self.there = tuple(asked(task_id) for task_id in task_ids)
        self.refused = ""
        self.sent: list[tuple[str, str]] = []
        monkeypatch.setattr(people, "from_app", self.read)
        monkeypatch.setattr(people, "order", self.order)

    def read(self, *_: object) -> tuple[QuestionView, ...]:
        return self.there

    def order(self, _: str | None, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        task_id, verb = path.split("/")[2:]
        if task_id == self.refused:
            raise DispatchError(f"Task {task_id!r} waits for no approval.")
        found = next((q for q in self.there if q.task_id == task_id), None)
        if found is None:
            raise TaskNotFoundError(task_id, {})
        self.sent.append((verb, body["question"]))
        return {"task_id": task_id, "question": found.question}


def nobody(_: str | None) -> None:
    """No app runs here."""


def asked(task_id: str) -> QuestionView:
    """An approval of a task, with an id of its own."""
    return QuestionView(
        id=f"beef{task_id:0>6}", task_id=task_id, run_id="", state="pending",
        question=f"May {task_id} start?\nSay so.", choices=("yes", "no"), answer_schema=None,
        asked_at=datetime.now(UTC), expires_at=None, default=None, answer=None, answered_by="",
        reason="", is_approval=True,
    )  # fmt: skip


@pytest.mark.parametrize("typed", ["7", "beef000007", COMMIT, COMMIT[:10]])
def test_what_was_shown_is_answered_and_named(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board(monkeypatch, "6", "7")
    board.there = (board.there[0], replace(board.there[1], commit=COMMIT))
    people.approve(typed)
    people.reject(typed)
    assert board.sent == [("approve", "beef000007"), ("reject", "beef000007")]
    said = capsys.readouterr().out
    assert said == "Approved: 7 (May 7 start?)\nRejected: 7 (May 7 start?)\n"


@pytest.mark.parametrize("all_", [False, True])
def test_one_that_is_refused_does_not_keep_the_others_from_being_approved(
    all_: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board(monkeypatch, "7", "8", "9")
    board.refused = "7"
    assert people.approve(*(() if all_ else ("7", "8", "9")), all_=all_) == 1
    assert [question for _, question in board.sent] == ["beef000008", "beef000009"]
    assert capsys.readouterr().err == "Task '7' waits for no approval.\n"
    with pytest.raises(DispatchError, match="no approval"):
        people.approve("7")


def test_an_approval_that_is_open_no_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(monkeypatch, "7")
    monkeypatch.setattr("athanore.cli.tasks.typed.find_at_work", nobody)
    with pytest.raises(DispatchError, match="something else is asked by now"):
        people.approve("beef000008")
    with pytest.raises(NotFoundError, match="'8'"):
        people.approve("8")
    assert board.sent == []


def test_how_to_decide_on_a_commit_names_the_approval(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board(monkeypatch, "7")
    board.there = (board.there[0], replace(asked("8"), commit=COMMIT))
    people.questions()
    said = capsys.readouterr().out
    assert "Then: athanore approve 7 (or: athanore reject 7 -m TEXT)" in said
    assert "Then: athanore approve beef000008 (or: athanore reject beef000008 -m TEXT)" in said
