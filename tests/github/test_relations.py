"""Dependencies between issues, and sub-issues: what they are, and what they cost."""

from __future__ import annotations

import pytest

from athanore.errors import BoardUnavailableError
from athanore.models import ChecklistItem
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.github.relations import REMEMBERED
from athanore.queue_adapters.tracker import picture
from athanore.testing.doubles.github import GitHubDouble
from tests.github.conftest import Clock

REPO = "/repos/octo-org/website"
TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
LATER = picture.MAX_AGE + 0.1


def test_the_issues_that_block_one_are_known_until_they_are_closed(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    first, second = github.issue("first"), github.issue("second", "agent:Todo")
    blocked = github.issue("blocked", "agent:Todo")
    github.block(blocked, first)
    github.block(blocked, second)
    assert [t.blocked_by for t in adapter.get_ready_tasks([TODO])] == [(), ("1", "2")]
    assert adapter.get_task("3").blocked_by == ("1", "2")
    github.state.set_fields(first, {"state": "closed"})
    adapter.forget_picture()
    assert [t.blocked_by for t in adapter.get_ready_tasks([TODO])] == [(), ("2",)]
    github.state.set_fields(second, {"state": "closed"})
    adapter.forget_picture()
    github.log.clear()
    assert [t.blocked_by for t in adapter.get_ready_tasks([TODO])] == [()]
    assert adapter.get_task("3").blocked_by == ()
    assert "POST /graphql" not in str(github.log), "the lists tell that there are none"


def blocked_by_many(github: GitHubDouble) -> None:
    """The issue 1 is blocked by 140, of which only the last one is open."""
    blocked = github.issue("blocked", "agent:Todo")
    for n in range(140):
        blocker = github.issue(f"blocker {n}")
        github.block(blocked, blocker)
        if n < 139:
            github.state.set_fields(blocker, {"state": "closed"})


def test_an_open_issue_that_blocks_one_behind_many_closed_ones_is_found(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock
) -> None:
    blocked_by_many(github)
    for _ in range(3):
        clock.forward(LATER)
        assert [task.blocked_by for task in timed.get_ready_tasks([TODO])] == [("141",)]
    assert timed.get_task("1").blocked_by == ("141",)
    assert github.log.count("POST /graphql AllBlockers") == 2, "one for each 100"


def test_that_all_who_block_an_issue_are_hidden_is_not_asked_with_each_poll(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock
) -> None:
    secret, blocked = github.issue("secret"), github.issue("blocked", "agent:Todo")
    github.block(blocked, secret)
    github.state.hidden.add(secret["node_id"])
    for _ in range(3):
        clock.forward(LATER)
        assert [task.blocked_by for task in timed.get_ready_tasks([TODO])] == [()]
    assert github.log.count("POST /graphql Blockers") == 1


def test_sub_issues_come_after_the_checklist_of_the_text(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    whole = github.issue("whole", "agent:Todo", body="- [x] written down")
    for title in ("open one", "closed one"):
        github.add_part(whole, github.issue(title))
    github.state.set_fields(github.state.issue(3), {"state": "closed"})
    expected = (
        ChecklistItem("written down", is_completed=True),
        ChecklistItem("open one", id="octo-org/website#2"),
        ChecklistItem("closed one", is_completed=True, id="octo-org/website#3"),
    )
    assert adapter.get_task("1").tasks == expected
    claimed = claim_task(adapter, "1", source_queue=TODO, target_queue=PROGRESS)
    assert claimed.tasks == expected


def test_who_blocks_is_asked_once_for_a_hundred_issues_and_again_after_a_change(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock
) -> None:
    blocker = github.issue("blocker")
    for n in range(90):
        github.block(github.issue(f"blocked {n}", "agent:Todo"), blocker)

    def poll() -> int:
        clock.forward(LATER)
        return sum(task.blocked_by == ("1",) for task in timed.get_ready_tasks([TODO]))

    assert poll() == 90
    assert github.log.count("POST /graphql Blockers") == 1
    github.log.clear()
    assert [poll(), poll()] == [90, 90]
    assert github.log == [f"GET {REPO}/issues"] * 2
    github.block(github.state.issue(2), github.issue("another"))
    assert poll() == 89
    assert github.log.count("POST /graphql Blockers") == 1
    clock.forward(REMEMBERED)
    assert poll() == 89
    assert github.log.count("POST /graphql Blockers") == 2
    names = [quota.name for quota in timed.quotas()]
    assert names == ["core", "graphql"]


def test_a_blocked_issue_costs_one_request_more_and_others_none(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    blocked, free = github.issue("blocked", "agent:Todo"), github.issue("free", "agent:Todo")
    github.block(blocked, free)
    for task_id, more in (("1", ["POST /graphql Relations"]), ("2", [])):
        github.log.clear()
        adapter.get_task(task_id)
        reads = [f"GET {REPO}/issues/{task_id}", f"GET {REPO}/issues/{task_id}/comments"]
        assert github.log == [*reads, *more]


def test_a_blocked_issue_is_not_taken_for_a_free_one_when_graphql_is_away(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    github.block(github.issue("blocked", "agent:Todo"), github.issue("blocker"))
    github.fail("POST", "/graphql", 502, times=9)
    with pytest.raises(BoardUnavailableError):
        adapter.get_ready_tasks([TODO])


def test_an_issue_that_is_deleted_meanwhile_is_passed_over(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    blocker = github.issue("blocker")
    for title in ("stays", "is deleted"):
        github.block(github.issue(title, "agent:Todo"), blocker)

    def deleted() -> None:
        del github.state.issues[3]

    github.wire.before["POST /graphql Blockers"] = deleted
    assert [t.blocked_by for t in adapter.get_ready_tasks([TODO])] == [("1",), ()]


def test_a_blocker_that_the_token_may_not_see_is_told_once_and_the_others_count(
    github: GitHubDouble, adapter: GitHubAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    secret, seen = github.issue("secret"), github.issue("seen")
    blocked = github.issue("blocked", "agent:Todo")
    github.block(blocked, secret)
    github.block(blocked, seen)
    github.state.hidden.add(secret["node_id"])
    for _ in range(2):
        assert [t.blocked_by for t in adapter.get_ready_tasks([TODO])] == [("2",)]
        assert adapter.get_task("3").blocked_by == ("2",)
    told = [r.getMessage() for r in caplog.records if "cannot be seen" in r.getMessage()]
    assert len(told) == 1
    assert blocked["html_url"] in told[0]
