"""What a board on GitHub costs: the numbers that docs/boards.md states."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.tracker import picture
from athanore.testing.doubles.github import GitHubDouble
from tests.github.conftest import Clock

REPO = "/repos/octo-org/website"
TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
LATER = picture.MAX_AGE + 0.1


def test_a_poll_of_any_number_of_queues_is_one_request(
    github: GitHubDouble, timed: GitHubAdapter
) -> None:
    github.issue("a", "agent:Todo")
    queues = [[TODO], [PROGRESS], [DONE], [TODO, DONE]] * 4
    barrier = threading.Barrier(len(queues))

    def poll(names: list[str]) -> int:
        barrier.wait(timeout=30)
        return len(timed.get_ready_tasks(names))

    with ThreadPoolExecutor(len(queues)) as pool:
        found = list(pool.map(poll, queues))
    assert found == [1, 0, 0, 1] * 4
    assert sorted(github.log) == [f"GET {REPO}/issues", f"GET {REPO}/labels"]


def test_an_unchanged_board_costs_nothing_of_the_limit(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock
) -> None:
    number = github.issue("a", "agent:Todo")["number"]

    def poll() -> list[str]:
        clock.forward(LATER)
        return [task.name for task in timed.get_ready_tasks([TODO, PROGRESS])]

    assert poll() == ["a"]
    github.log.clear()
    counted = github.wire.counted
    assert [poll(), poll(), poll()] == [["a"]] * 3
    assert github.log == [f"GET {REPO}/issues"] * 3
    assert github.wire.counted == counted
    github.state.set_fields(github.state.issue(number), {"title": "b"})
    assert poll() == ["b"]
    assert github.wire.counted == counted + 1


def test_a_thousand_issues_are_ten_requests_once_and_then_one_a_poll(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock
) -> None:
    for n in range(1_000):
        github.issue(f"issue {n}", "agent:Todo" if n % 2 else "bug")
    tasks = timed.get_ready_tasks([TODO, PROGRESS])
    assert [task.name for task in tasks] == [f"issue {n}" for n in range(1, 1_000, 2)]
    assert github.log.count(f"GET {REPO}/issues") == 10
    github.log.clear()
    github.state.ahead = timedelta(minutes=5)
    github.state.set_fields(github.state.issue(2), {"state": "closed"})
    github.state.label_issue(github.state.issue(1), ["agent:Todo"])
    clock.forward(LATER)
    tasks = timed.get_ready_tasks([TODO])  # all 1,000 were made in the minute before the reading
    assert [task.name for task in tasks][:2] == ["issue 0", "issue 3"]
    github.log.clear()
    clock.forward(LATER)
    timed.get_ready_tasks([TODO])
    counted = github.wire.counted
    clock.forward(LATER)
    assert len(timed.get_ready_tasks([TODO])) == 500
    assert github.log == [f"GET {REPO}/issues"] * 2
    assert github.wire.counted == counted, "nothing has changed any more"


@pytest.mark.parametrize("what", ["an issue", "a pull request"])
def test_what_is_closed_between_two_pages_hides_no_issue(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock, what: str
) -> None:
    github.state.ahead = timedelta(hours=-1)
    first = github.issue("a") if what == "an issue" else github.pull_request("a")
    for n in range(150):
        github.issue(f"issue {n}", "agent:Todo")
    github.state.ahead = timedelta(0)
    pages = f"GET {REPO}/issues"

    def close() -> None:
        github.state.set_fields(first, {"state": "closed"})

    github.wire.before[pages] = lambda: github.wire.before.update({pages: close})
    assert len(timed.get_ready_tasks([TODO])) == 149
    for _ in range(2):
        clock.forward(LATER)
        github.log.clear()
        assert len(timed.get_ready_tasks([TODO])) == 150
    assert len(github.log) <= 2, "it is read whole once more, and not again"


def test_in_a_large_repository_what_changes_no_time_is_seen_after_ten_minutes(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock
) -> None:
    for n in range(150):
        github.issue(f"issue {n}", "agent:Todo")
    assert len(timed.get_ready_tasks([TODO])) == 150
    del github.state.issues[150]  # deleted, or transferred
    clock.forward(LATER)
    assert len(timed.get_ready_tasks([TODO])) == 150
    clock.forward(picture.WHOLE_EVERY)
    assert len(timed.get_ready_tasks([TODO])) == 149


def test_a_claim_is_five_requests_and_a_move_three(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    github.issue("a", "agent:Todo")
    adapter.get_ready_tasks([TODO])
    assert adapter.user == "athanore-bot"
    github.log.clear()
    task = claim_task(adapter, "1", source_queue=TODO, target_queue=PROGRESS)
    assert (task.queue_name, task.assignees) == (PROGRESS, ("athanore-bot",))
    assert github.log == [
        f"GET {REPO}/issues/1",
        f"GET {REPO}/issues/1/comments",
        f"POST {REPO}/issues/1/labels",
        f"DELETE {REPO}/issues/1/labels/agent:Todo",
        f"POST {REPO}/issues/1/assignees",
    ]
    github.log.clear()
    adapter.move_task("1", DONE)
    assert github.log == [
        f"GET {REPO}/issues/1",
        f"POST {REPO}/issues/1/labels",
        f"DELETE {REPO}/issues/1/labels/agent:In Progress",
    ]
    github.log.clear()
    adapter.add_comment("1", "Done.")
    adapter.get_task("1")
    assert github.log == [
        f"POST {REPO}/issues/1/comments",
        f"GET {REPO}/issues/1",
        f"GET {REPO}/issues/1/comments",
    ]


def test_a_start_is_five_requests(github: GitHubDouble, adapter: GitHubAdapter) -> None:
    adapter.prepare([TODO, PROGRESS, DONE])
    assert adapter.user == "athanore-bot"
    assert github.log == [
        f"GET {REPO}/issues",
        f"POST {REPO}/issues",
        f"GET {REPO}/labels",
        "GET /user",
        f"GET {REPO}/assignees/athanore-bot",
    ]
    assert github.state.issues == {}, "the write that is tried makes nothing"


def test_our_own_writes_are_seen_at_once_though_lists_lag(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock
) -> None:
    github.issue("a", "agent:Todo")
    github.state.lag()
    assert [task.id for task in timed.get_ready_tasks([TODO])] == ["1"]
    timed.move_task("1", DONE)
    second = timed.create_task(TODO, "b").id
    clock.forward(LATER)
    assert [task.id for task in timed.get_ready_tasks([TODO, DONE])] == [second, "1"]
    timed.update_task(second, name="c")
    clock.forward(LATER)
    assert [task.name for task in timed.get_ready_tasks([TODO])] == ["c"]
    github.state.catch_up()
    clock.forward(picture.OWN_COUNTS)
    assert [task.name for task in timed.get_ready_tasks([TODO, DONE])] == ["c", "a"]
    github.state.label_issue(github.state.issue(1), ["agent:Todo"])
    clock.forward(LATER)
    assert [task.name for task in timed.get_ready_tasks([DONE])] == [], "the earlier queue counts"


def test_polls_slow_down_before_the_quota_is_used_up_and_a_claim_does_not(
    github: GitHubDouble, timed: GitHubAdapter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    github.issue("a", "agent:Todo")
    github.wire.remaining = 361
    timed.get_ready_tasks([TODO])
    (quota,) = timed.quotas()
    assert (quota.name, quota.limit, quota.remaining) == ("core", 5000, 359)
    github.log.clear()
    polls = 40
    for _ in range(polls):
        clock.forward(LATER)
        assert len(timed.get_ready_tasks([TODO])) == 1
    assert github.log.count(f"GET {REPO}/issues") == 3, "one in 20 s"
    said = [r for r in caplog.records if getattr(r, "action", "") == "board_read_less"]
    assert len(said) == 1 and "every 20 s" in said[0].getMessage()
    task = claim_task(timed, "1", source_queue=TODO, target_queue=PROGRESS)
    assert task.queue_name == PROGRESS
    github.wire.remaining = 5000
    timed.add_comment("1", "hello")
    github.log.clear()
    for _ in range(3):
        clock.forward(LATER)
        timed.get_ready_tasks([PROGRESS])
    assert github.log.count(f"GET {REPO}/issues") == 3
