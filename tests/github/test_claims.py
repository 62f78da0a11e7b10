"""Claims and moves: one label of the board in place of another, whoever else is at it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from athanore.errors import (
    AnswerLostError,
    BoardUnavailableError,
    InvalidTaskError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.models import Task
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.github.several import GitHubRepositories
from athanore.testing.doubles.github import GitHubDouble
from athanore.testing.doubles.github.server import BOT, PERSON
from athanore.testing.queue_contract import at_once

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
LABEL = {queue: f"agent:{queue}" for queue in (TODO, PROGRESS, DONE)}


def claim(adapter: GitHubAdapter | GitHubRepositories, task_id: str = "1") -> Task:
    return claim_task(adapter, task_id, source_queue=TODO, target_queue=PROGRESS)


def before(github: GitHubDouble, request: str, change: Callable[[], None]) -> None:
    """Have somebody change something right before a request of ours is answered."""
    github.wire.before[request] = change


@pytest.fixture
def issue(github: GitHubDouble) -> int:
    return github.issue("Fix crash", "bug", LABEL[TODO], "urgent")["number"]


def test_a_move_touches_no_other_label(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    before(
        github,
        f"DELETE /repos/octo-org/website/issues/{issue}/labels/{LABEL[TODO]}",
        lambda: github.state.label_issue(github.state.issue(issue), ["new"]),
    )
    assert claim(adapter).labels == ("bug", "urgent", "new")
    assert github.labels(issue) == ["bug", "urgent", LABEL[PROGRESS], "new"]
    adapter.move_task("1", DONE)
    assert github.labels(issue) == ["bug", "urgent", "new", LABEL[DONE]]


def test_of_claims_of_several_processes_at_once_one_wins(github: GitHubDouble, issue: int) -> None:
    adapters = [github.board().create_adapter() for _ in range(6)]

    def attempt(adapter: GitHubAdapter | GitHubRepositories) -> Task | None:
        try:
            return claim(adapter)
        except TaskMovedError:
            return None

    won = at_once([lambda adapter=adapter: attempt(adapter) for adapter in adapters])
    assert len([task for task in won if task is not None]) == 1
    assert github.labels(issue) == ["bug", "urgent", LABEL[PROGRESS]]
    for adapter in adapters:
        adapter.close()


def test_a_person_who_moves_the_issue_in_the_same_moment_wins(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    row = github.state.issue(issue)

    def to_done() -> None:
        github.state.unlabel_issue(row, LABEL[TODO])
        github.state.label_issue(row, [LABEL[DONE]])

    before(github, f"DELETE /repos/octo-org/website/issues/{issue}/labels/{LABEL[TODO]}", to_done)
    with pytest.raises(TaskMovedError) as caught:
        claim(adapter)
    assert caught.value.actual == DONE
    assert github.labels(issue) == ["bug", "urgent", LABEL[DONE]]
    assert row["assignees"] == []


@pytest.mark.parametrize("kind", ["lost", "cut"])
def test_a_claim_whose_answer_is_lost_is_in_doubt(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int, kind: str
) -> None:
    github.fail("DELETE", f"/labels/{LABEL[TODO]}", "lost" if kind == "lost" else "cut")
    with pytest.raises(AnswerLostError):
        claim(adapter)
    again = claim_task(adapter, "1", source_queue=PROGRESS, target_queue=PROGRESS)
    assert (again.queue_name, again.assignees) == (PROGRESS, ("athanore-bot",))
    assert github.labels(issue) == ["bug", "urgent", LABEL[PROGRESS]]


def test_a_claim_that_was_not_made_leaves_the_issue_in_its_queue(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    github.fail("DELETE", f"/labels/{LABEL[TODO]}", 500)
    with pytest.raises(BoardUnavailableError):
        claim(adapter)
    assert adapter.get_task("1").queue_name == TODO
    assert claim(adapter).queue_name == PROGRESS
    assert github.labels(issue) == ["bug", "urgent", LABEL[PROGRESS]]


def test_a_move_that_was_broken_off_is_made_once_more(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    adapter.prepare([TODO, PROGRESS, DONE])
    claim(adapter)
    github.state.label_issue(github.state.issue(issue), [LABEL[DONE]])  # and then killed
    assert adapter.get_task("1").queue_name == PROGRESS
    adapter.move_task("1", DONE)
    assert github.labels(issue) == ["bug", "urgent", LABEL[DONE]]


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
def test_a_move_survives_lost_answers(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int, kind: str | int
) -> None:
    fault = kind if isinstance(kind, int) else "lost" if kind == "lost" else "cut"
    github.fail("POST", "/labels", fault)
    github.fail("DELETE", "/labels/", fault)
    adapter.move_task("1", DONE)
    assert github.labels(issue) == ["bug", "urgent", LABEL[DONE]]


def test_a_closed_issue_is_in_no_queue(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    github.state.set_fields(github.state.issue(issue), {"state": "closed"})
    assert adapter.get_ready_tasks([TODO]) == []
    assert adapter.get_queue(TODO).task_count == 0
    with pytest.raises(TaskMovedError, match="closed"):
        claim(adapter)
    assert github.labels(issue) == ["bug", LABEL[TODO], "urgent"]


def test_a_queue_may_close_its_issues(github: GitHubDouble, issue: int) -> None:
    adapter = github.board(closes=[DONE]).create_adapter()
    row = github.state.issue(issue)
    adapter.move_task("1", DONE)
    assert (row["state"], row["state_reason"]) == ("closed", "completed")
    assert adapter.get_task("1").queue_name == DONE
    assert adapter.get_ready_tasks([DONE]) == []
    adapter.move_task("1", TODO)
    assert (row["state"], row["state_reason"]) == ("open", "reopened")
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == ["1"]
    adapter.close()


def test_what_others_have_closed_stays_closed(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    claim(adapter)
    row = github.state.issue(issue)
    github.state.set_fields(row, {"state": "closed"})  # by a merged pull request, say
    adapter.move_task("1", DONE)
    assert (row["state"], github.labels(issue)) == ("closed", ["bug", "urgent", LABEL[DONE]])


def test_a_task_says_where_its_issue_is(github: GitHubDouble, adapter: GitHubAdapter) -> None:
    row = github.issue("a", LABEL[TODO])
    (task,) = adapter.get_ready_tasks([TODO])
    assert task.url == row["html_url"]
    assert claim(adapter, task.id).url == adapter.get_task(task.id).url == row["html_url"]


def test_a_task_says_who_made_it_and_when(github: GitHubDouble, adapter: GitHubAdapter) -> None:
    row = github.issue("a", LABEL[TODO])
    github.state.add_comment(row, BOT, "said since")
    (task,) = adapter.get_ready_tasks([TODO])
    assert (task.author, task.priority) == (PERSON, None)
    assert task.created_at == datetime.fromisoformat(row["created_at"])
    assert task.updated_at == datetime.fromisoformat(row["updated_at"])


def test_a_pull_request_is_no_task(github: GitHubDouble, adapter: GitHubAdapter) -> None:
    number = github.pull_request("Add a page", LABEL[TODO])["number"]
    assert adapter.get_ready_tasks([TODO]) == []
    for call in (
        lambda: adapter.get_task(str(number)),
        lambda: adapter.move_task(str(number), DONE),
        lambda: claim(adapter, str(number)),
        lambda: adapter.update_task(str(number), name="other"),
    ):
        with pytest.raises(TaskNotFoundError):
            call()
    assert github.labels(number) == [LABEL[TODO]]


def test_whom_github_does_not_assign_is_said(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    with pytest.raises(InvalidTaskError, match="'stranger'"):
        adapter.update_task("1", assignees=["stranger"])
    github.state.collaborators.discard("athanore-bot")
    assert adapter.user is None
    assert claim(adapter).assignees == ()


def test_the_label_of_a_queue_is_no_label_of_a_task(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    with pytest.raises(InvalidTaskError, match="move the task"):
        adapter.update_task("1", labels=["bug", "AGENT:done"])
    assert adapter.update_task("1", labels=["BUG"]).labels == ("bug",)
    assert github.labels(issue) == ["bug", LABEL[TODO]]
