"""A Linear that loses answers, refuses for a while, or takes the key away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardUnavailableError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.queue_adapters.linear.adapter import LinearAdapter
from athanore.queue_adapters.tracker import looking, picture
from athanore.testing.doubles.linear import LinearDouble
from athanore.testing.doubles.linear.app import Limit
from athanore.testing.doubles.wire import Kind
from athanore.testing.queue_contract import at_once

TODO, PROGRESS, REVIEW = "Todo", "In Progress", "In Review"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look twice for what was written without waiting in between."""
    monkeypatch.setattr(looking, "LOOKS", (0.0, 0.0))


def claim(adapter: LinearAdapter, task_id: str) -> str:
    task = adapter.claim_task(
        task_id, source_queue=TODO, target_queue=PROGRESS, assignee="athanore"
    )
    return task.queue_name


@pytest.mark.parametrize("kind", ["lost", "cut", 500, 502])
def test_what_is_written_without_an_answer_is_there_once(
    linear: LinearDouble, adapter: LinearAdapter, kind: Kind
) -> None:
    for operation in ("AddComment", "Create", "Update"):
        linear.fail(operation, kind)
    created = adapter.create_task(TODO, "Fix crash", "It crashes.")
    adapter.add_comment(created.id, "Half of it works.")
    adapter.move_task(created.id, REVIEW)
    assert adapter.update_task(created.id, name="b").comments[0].text == "Half of it works."
    assert [t.id for t in adapter.get_ready_tasks([TODO, REVIEW])] == [created.id]
    assert linear.comments(created.id) == ["Half of it works."]


@pytest.mark.parametrize("kind", ["cut", 502, 503])
def test_a_query_that_failed_in_passing_is_sent_again(
    linear: LinearDouble, adapter: LinearAdapter, kind: Kind
) -> None:
    linear.issue("a")
    linear.fail("Issues", kind)
    assert len(adapter.get_ready_tasks([TODO])) == 1
    linear.fail("Whole", "page")
    with pytest.raises(BoardUnavailableError, match="does not answer like Linear"):
        adapter.get_task("ENG-1")


@pytest.mark.parametrize("kind", ["lost", "cut"])
def test_a_claim_whose_answer_is_lost_is_known_by_its_place(
    linear: LinearDouble, adapter: LinearAdapter, kind: Kind
) -> None:
    task_id = linear.issue("a")["id"]
    linear.fail("Update", kind)
    assert claim(adapter, task_id) == PROGRESS
    other = linear.issue("b")["id"]
    linear.fail("Update", 500)
    with pytest.raises(BoardUnavailableError):
        claim(adapter, other)
    assert claim(adapter, other) == PROGRESS


def test_of_claims_of_several_processes_at_once_one_wins(linear: LinearDouble) -> None:
    adapters = [linear.board().create_adapter() for _ in range(4)]
    task_id = linear.issue("a")["id"]

    def attempt(adapter: LinearAdapter) -> str | None:
        try:
            return claim(adapter, task_id)
        except TaskMovedError:
            return None

    won = at_once([lambda adapter=adapter: attempt(adapter) for adapter in adapters])
    assert [place for place in won if place] == [PROGRESS]
    for adapter in adapters:
        adapter.close()


def test_a_person_who_moves_the_issue_after_our_look_is_not_overlooked_twice(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    task_id = linear.issue("a")["id"]
    adapter.get_ready_tasks([TODO])
    linear.wire.before["Issue"] = lambda: linear.state.change_issue(
        linear.state.issue(task_id),
        {"stateId": linear.state.state(REVIEW)["id"], "sortOrder": -5.0},
    )
    with pytest.raises(TaskMovedError) as caught:
        claim(adapter, task_id)
    assert caught.value.actual == REVIEW


@pytest.mark.parametrize("kind", ["requests", "complexity"])
def test_within_a_limit_nothing_is_asked_and_the_reset_is_told(
    linear: LinearDouble, adapter: LinearAdapter, kind: Limit
) -> None:
    linear.issue("a")
    linear.refuse_for(300, kind)
    for _ in range(3):
        with pytest.raises(BoardUnavailableError, match="rate limit") as caught:
            adapter.get_ready_tasks([TODO])
        assert caught.value.retry_after is not None
        assert timedelta(seconds=200) < caught.value.retry_after < timedelta(seconds=304)
    assert linear.log == ["Team"]


def test_a_key_that_is_taken_away_is_said_and_back_again(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    linear.issue("a")
    account = linear.revoke()
    with pytest.raises(BoardAccessError, match="ATHANORE_LINEAR_API_KEY"):
        adapter.get_ready_tasks([TODO])
    linear.grant(account)
    assert len(adapter.get_ready_tasks([TODO])) == 1
    account.may_write = False
    with pytest.raises(BoardAccessError, match="does not allow this"):
        adapter.move_task("ENG-1", REVIEW)


def test_the_rest_of_a_team_is_not_in_doubt_when_a_write_is(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    linear.issue("a")
    adapter.get_ready_tasks([TODO])
    linear.fail("AddComment", 500, times=2)
    with pytest.raises(AnswerLostError):
        adapter.add_comment("ENG-1", "hello")
    assert linear.comments("ENG-1") == []


def test_a_user_who_loses_the_team_deletes_no_task(
    linear: LinearDouble, adapter: LinearAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MAX_AGE", 0)
    task_id = linear.issue("a")["id"]
    assert len(adapter.get_ready_tasks([TODO])) == 1
    with pytest.raises(TaskNotFoundError):
        adapter.get_task("ENG-99")
    linear.state.is_visible = False
    for use in (
        lambda: adapter.get_ready_tasks([TODO]),
        lambda: adapter.get_task(task_id),
        lambda: adapter.add_comment(task_id, "Half of it works."),
        lambda: adapter.move_task(task_id, REVIEW),
    ):
        linear.state.is_visible = True
        assert adapter.board_identity()
        linear.state.is_visible = False
        with pytest.raises(BoardAccessError, match="no team with the key 'ENG'"):
            use()
