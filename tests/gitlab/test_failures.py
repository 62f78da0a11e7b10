"""A GitLab that loses answers, refuses for a while, or takes access away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardUnavailableError,
    TaskNotFoundError,
)
from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.gitlab import GitLabDouble
from athanore.testing.doubles.wire import Kind

TODO = "Todo"


@pytest.fixture
def issue(gitlab: GitLabDouble) -> int:
    return gitlab.issue("Fix crash", "agent::Todo")["iid"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look twice for what was written without waiting in between."""
    monkeypatch.setattr(looking, "LOOKS", (0.0, 0.0))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_what_is_written_is_there_once_though_its_answer_is_lost(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int, kind: Kind
) -> None:
    gitlab.fail("POST", "/notes", kind)
    adapter.add_comment("1", "Half of it works.")
    assert [c.text for c in adapter.get_task("1").comments] == ["Half of it works."]
    assert len(gitlab.notes(issue)) == 1
    gitlab.fail("POST", "/issues", kind)
    created = adapter.create_task(TODO, "another", "text")
    assert (created.id, len(gitlab.state.issues)) == ("2", 2)


@pytest.mark.usefixtures("impatient")
def test_a_comment_that_cannot_be_found_is_in_doubt(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int
) -> None:
    gitlab.fail("POST", "/notes", 500, times=2)
    with pytest.raises(AnswerLostError, match="may have been done"):
        adapter.add_comment("1", "Half of it works.")


def test_within_a_limit_nothing_is_asked(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int
) -> None:
    gitlab.refuse_for(300)
    with pytest.raises(BoardUnavailableError) as caught:
        adapter.add_comment("1", "hello")
    wait = caught.value.retry_after
    assert wait is not None
    assert timedelta(seconds=200) < wait <= timedelta(seconds=301)
    asked = len(gitlab.log)
    for call in (lambda: adapter.get_ready_tasks([TODO]), lambda: adapter.get_task("1")):
        with pytest.raises(BoardUnavailableError, match="rate limit"):
            call()
    assert len(gitlab.log) == asked


def test_a_limit_of_notes_does_not_say_how_long_it_lasts(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int
) -> None:
    gitlab.refuse_for(30, "silent")
    with pytest.raises(BoardUnavailableError) as caught:
        adapter.add_comment("1", "hello")
    wait = caught.value.retry_after
    assert wait is not None
    assert wait.total_seconds() == pytest.approx(60, abs=5)


def test_what_the_account_cannot_see_any_more_is_no_missing_task(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int
) -> None:
    with pytest.raises(TaskNotFoundError):
        adapter.get_task("99")
    gitlab.state.is_visible = False
    for call in (lambda: adapter.get_task("1"), lambda: adapter.get_ready_tasks([TODO])):
        with pytest.raises(BoardAccessError, match="cannot see the project 'octo-group/website'"):
            call()
    gitlab.state.is_visible = True
    gitlab.state.moved_to = f"{gitlab.url}/api/v4/projects/5"
    with pytest.raises(BoardAccessError, match="has moved to"):
        adapter.get_task("1")


def test_a_page_of_a_proxy_is_no_answer(gitlab: GitLabDouble, adapter: GitLabAdapter) -> None:
    gitlab.fail("GET", "/issues", "page")
    with pytest.raises(BoardUnavailableError, match="does not answer like GitLab"):
        adapter.get_ready_tasks([TODO])
