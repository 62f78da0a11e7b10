"""Claims and moves: one label of the board in place of another, whoever else is at it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from athanore.errors import BoardUnavailableError, InvalidTaskError, TaskMovedError
from athanore.models import Task
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.gitlab import claims
from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
from athanore.testing.doubles.gitlab import GitLabDouble
from athanore.testing.doubles.gitlab.server import BOT, PERSON
from athanore.testing.doubles.wire import Kind
from athanore.testing.queue_contract import at_once

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
LABEL = {queue: f"agent::{queue}" for queue in (TODO, PROGRESS, DONE)}
ISSUE = "/projects/octo-group/website/issues/1"


def claim(adapter: GitLabAdapter, task_id: str = "1") -> Task:
    return claim_task(adapter, task_id, source_queue=TODO, target_queue=PROGRESS)


@pytest.fixture
def issue(gitlab: GitLabDouble) -> int:
    return gitlab.issue("Fix crash", "bug", LABEL[TODO], "urgent")["iid"]


def test_a_claim_is_one_write_between_lock_and_release_and_touches_no_other_label(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int
) -> None:
    row = gitlab.state.issue(issue)
    gitlab.wire.before[f"PUT {ISSUE}"] = lambda: gitlab.state.change_labels(row, ["new"])
    task = claim(adapter)
    assert (task.queue_name, task.labels, task.assignees) == (
        PROGRESS,
        ("bug", "new", "urgent"),
        (BOT,),
    )
    assert gitlab.state.awards[issue] == []
    assert gitlab.labels(issue) == [LABEL[PROGRESS], "bug", "new", "urgent"]
    assert task.url == row["web_url"]
    assert (task.author, task.priority) == (PERSON, None)
    assert task.created_at == datetime.fromisoformat(row["created_at"])
    assert task.updated_at == datetime.fromisoformat(row["updated_at"])


def test_of_claims_of_several_processes_at_once_one_wins(gitlab: GitLabDouble, issue: int) -> None:
    adapters = [gitlab.board().create_adapter() for _ in range(6)]

    def attempt(adapter: GitLabAdapter) -> Task | None:
        try:
            return claim(adapter)
        except (TaskMovedError, BoardUnavailableError):
            return None

    won = at_once([lambda adapter=adapter: attempt(adapter) for adapter in adapters])
    assert len([task for task in won if task is not None]) == 1
    assert gitlab.labels(issue) == [LABEL[PROGRESS], "bug", "urgent"]
    for adapter in adapters:
        adapter.close()


def test_a_person_who_moves_the_issue_in_the_same_moment_wins(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int
) -> None:
    row = gitlab.state.issue(issue)
    gitlab.wire.before[f"PUT {ISSUE}"] = lambda: gitlab.state.change_labels(
        row, [LABEL[DONE]], [LABEL[TODO]]
    )
    with pytest.raises(TaskMovedError) as caught:
        claim(adapter)
    assert caught.value.actual == DONE
    assert gitlab.labels(issue) == [LABEL[DONE], "bug", "urgent"]


def test_a_process_that_died_in_its_claim_is_in_the_way_for_a_minute(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LOOKS", (0.0, 0.0))
    gitlab.state.ahead = -claims.LEFT_BEHIND - timedelta(seconds=1)
    gitlab.state.add_award(gitlab.state.issue(issue), BOT, claims.EMOJI)
    gitlab.state.add_award(gitlab.state.issue(issue), PERSON, claims.EMOJI)
    gitlab.state.ahead = timedelta(0)
    assert claim(adapter).queue_name == PROGRESS
    assert [award["user"]["username"] for award in gitlab.state.awards[issue]] == [PERSON]
    adapter.move_task("1", TODO)
    gitlab.state.add_award(gitlab.state.issue(issue), BOT, claims.EMOJI)
    with pytest.raises(BoardUnavailableError, match="Another process is claiming"):
        claim(adapter)
    assert adapter.get_task("1").queue_name == TODO


def test_the_age_of_an_emoji_is_by_gitlabs_clock(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LOOKS", (0.0, 0.0))
    gitlab.state.ahead = timedelta(minutes=-10)
    gitlab.state.add_award(gitlab.state.issue(issue), BOT, claims.EMOJI)
    with pytest.raises(BoardUnavailableError, match="Another process is claiming"):
        claim(adapter)


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_claims_and_moves_survive_lost_answers(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int, kind: Kind
) -> None:
    gitlab.fail("PUT", "/issues/", kind)
    assert (claim(adapter).queue_name, gitlab.labels(issue)[0]) == (PROGRESS, LABEL[PROGRESS])
    gitlab.fail("PUT", "/issues/", kind)
    adapter.move_task("1", DONE)
    assert gitlab.labels(issue) == [LABEL[DONE], "bug", "urgent"]


def test_a_claim_whose_lock_is_in_doubt_changes_nothing(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int
) -> None:
    gitlab.fail("POST", "/award_emoji", 500)
    with pytest.raises(BoardUnavailableError):
        claim(adapter)
    assert claim(adapter).queue_name == PROGRESS


def test_a_queue_may_close_its_issues_and_what_others_have_closed_stays_closed(
    gitlab: GitLabDouble, issue: int
) -> None:
    adapter = gitlab.board(closes=[DONE]).create_adapter()
    row = gitlab.state.issue(issue)
    adapter.move_task("1", DONE)
    assert (row["state"], adapter.get_task("1").queue_name) == ("closed", DONE)
    assert adapter.get_ready_tasks([DONE]) == []
    adapter.move_task("1", TODO)
    assert row["state"] == "opened"
    gitlab.state.set_fields(row, {"state_event": "close"})
    with pytest.raises(TaskMovedError, match="closed"):
        claim(adapter)
    adapter.move_task("1", PROGRESS)
    assert row["state"] == "closed"
    adapter.close()


def test_the_order_is_that_of_the_boards(gitlab: GitLabDouble, adapter: GitLabAdapter) -> None:
    for name in "abcd":
        gitlab.issue(name, LABEL[TODO])
    gitlab.state.positions |= {3: 100, 1: 200}  # b and d were never dragged
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["c", "a", "b", "d"]


def test_what_blocks_an_issue_is_read_from_its_links_if_that_is_asked_for(
    gitlab: GitLabDouble,
) -> None:
    adapter = gitlab.board(blockers=True).create_adapter()
    for name in "abc":
        gitlab.issue(name, LABEL[TODO])
    gitlab.state.links += [(1, 2), (3, 2)]
    gitlab.state.set_fields(gitlab.state.issue(3), {"state_event": "close"})
    tasks = adapter.get_ready_tasks([TODO])
    assert [(task.name, task.blocked_by) for task in tasks] == [("a", ()), ("b", ("1",))]
    asked = len(gitlab.log)
    adapter.get_ready_tasks([TODO])
    assert len(gitlab.log) == asked, "links are read once while nothing changes"
    adapter.close()


def test_what_gitlab_does_not_take_is_said(
    gitlab: GitLabDouble, adapter: GitLabAdapter, issue: int
) -> None:
    for assignees, says in ((["stranger"], "no user 'stranger'"), ([PERSON, BOT], "GitLab Free")):
        with pytest.raises(InvalidTaskError, match=says):
            adapter.update_task("1", assignees=assignees)
    with pytest.raises(InvalidTaskError, match="move the task"):
        adapter.update_task("1", labels=["bug", "AGENT::done"])
    with pytest.raises(InvalidTaskError, match="no comma"):
        adapter.update_task("1", labels=["a,b"])
    assert gitlab.labels(issue) == [LABEL[TODO], "bug", "urgent"]
    assert claim(adapter).assignees == (PERSON,), "Free has room for one, and that is claimed"
