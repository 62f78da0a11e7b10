"""What a board on GitLab costs: the numbers that docs/boards.md states."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
from athanore.queue_adapters.gitlab.client import GitLabClient
from athanore.queue_adapters.tracker.labels import Family
from athanore.queue_adapters.tracker.picture import MAX_AGE, OWN_COUNTS
from athanore.testing.doubles.gitlab import GitLabDouble
from athanore.testing.doubles.gitlab.server import BOT, QUOTA, TOKEN

PROJECT = "/projects/octo-group/website"
TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
LATER = MAX_AGE + 0.1


class Clock:
    """A clock that stands still until a test sets it forward."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def __call__(self) -> float:
        return self._now

    def forward(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(gitlab: GitLabDouble, clock: Clock) -> Iterator[GitLabAdapter]:
    """The bot's adapter, by the test's clock."""
    board = gitlab.board()
    api = f"{gitlab.url}/api/v4"
    client = GitLabClient(api, TOKEN, timeout=board.timeout, retry_delays=())
    adapter = GitLabAdapter(
        client, board.project, Family.of("GitLabBoard", 255, "agent::"),
        site=gitlab.url, board=None, closes=(), assigns=True, reads_links=False, now=clock,
    )  # fmt: skip
    yield adapter
    adapter.close()


def test_a_poll_of_any_number_of_queues_is_one_request(
    gitlab: GitLabDouble, timed: GitLabAdapter, clock: Clock
) -> None:
    gitlab.issue("a", "agent::Todo")
    for _ in range(3):
        assert len(timed.get_ready_tasks([TODO, PROGRESS, DONE])) == 1
    assert sorted(gitlab.log) == [f"GET {PROJECT}/issues", f"GET {PROJECT}/labels"]
    gitlab.log.clear()
    clock.forward(LATER)
    timed.get_ready_tasks([TODO])
    assert gitlab.log == [f"GET {PROJECT}/issues"]


def test_a_thousand_issues_are_ten_requests_once_and_then_one_a_poll(
    gitlab: GitLabDouble, timed: GitLabAdapter, clock: Clock
) -> None:
    for n in range(1_000):
        gitlab.issue(f"issue {n}", "agent::Todo" if n % 2 else "bug")
        gitlab.state.issue(n + 1)["updated_at"] = "2026-01-01T00:00:00.000Z"
    tasks = timed.get_ready_tasks([TODO, PROGRESS])
    assert [task.name for task in tasks] == [f"issue {n}" for n in range(1, 1_000, 2)]
    assert gitlab.log.count(f"GET {PROJECT}/issues") == 10
    gitlab.log.clear()
    gitlab.state.set_fields(gitlab.state.issue(2), {"state_event": "close"})
    # A while after that reading: what is closed within a second of it has everything read again.
    closed = datetime.now(UTC) + timedelta(seconds=5)
    gitlab.state.issue(2)["updated_at"] = f"{closed:%Y-%m-%dT%H:%M:%S.000Z}"
    gitlab.state.change_labels(gitlab.state.issue(1), ["agent::Todo"])
    clock.forward(LATER)
    tasks = timed.get_ready_tasks([TODO])
    assert [task.name for task in tasks][:2] == ["issue 0", "issue 3"]
    assert gitlab.log == [f"GET {PROJECT}/issues"]


def test_a_claim_is_five_requests_and_a_move_two(
    gitlab: GitLabDouble, adapter: GitLabAdapter
) -> None:
    gitlab.issue("a", "agent::Todo")
    adapter.get_ready_tasks([TODO])
    assert adapter.user == BOT
    issue = f"{PROJECT}/issues/1"
    gitlab.log.clear()
    claim_task(adapter, "1", source_queue=TODO, target_queue=PROGRESS)
    assert gitlab.log[:-1] == [
        f"POST {issue}/award_emoji",
        f"GET {issue}",
        f"GET {issue}/notes",
        f"PUT {issue}",
    ]
    assert gitlab.log[-1].startswith(f"DELETE {issue}/award_emoji/")
    gitlab.log.clear()
    adapter.move_task("1", DONE)
    adapter.add_comment("1", "Done.")
    assert gitlab.log == [f"GET {issue}", f"PUT {issue}", f"POST {issue}/notes"]


def test_a_start_is_four_requests(gitlab: GitLabDouble, adapter: GitLabAdapter) -> None:
    adapter.prepare([TODO, PROGRESS, DONE])
    assert adapter.user == BOT
    assert gitlab.log == [
        f"GET {PROJECT}",
        f"POST {PROJECT}/issues",
        f"GET {PROJECT}/labels",
        "GET /user",
    ]
    assert gitlab.state.issues == {}, "the write that is tried makes nothing"


def test_our_own_writes_are_seen_at_once_though_lists_lag(
    gitlab: GitLabDouble, timed: GitLabAdapter, clock: Clock
) -> None:
    gitlab.issue("a", "agent::Todo")
    gitlab.state.lag()
    assert [task.id for task in timed.get_ready_tasks([TODO])] == ["1"]
    timed.move_task("1", DONE)
    second = timed.create_task(TODO, "b").id
    clock.forward(LATER)
    assert [task.id for task in timed.get_ready_tasks([TODO, DONE])] == [second, "1"]
    gitlab.state.catch_up()
    clock.forward(OWN_COUNTS)
    assert [task.name for task in timed.get_ready_tasks([TODO, DONE])] == ["b", "a"]


def test_polls_slow_down_before_the_limit_of_a_minute_is_reached(
    gitlab: GitLabDouble, timed: GitLabAdapter, clock: Clock
) -> None:
    gitlab.issue("a", "agent::Todo")
    gitlab.wire.counted = QUOTA - 20
    timed.get_ready_tasks([TODO])
    (quota,) = timed.quotas()
    assert (quota.name, quota.limit) == ("requests", QUOTA)
    assert 0 < quota.remaining < 20
    gitlab.log.clear()
    for _ in range(10):
        clock.forward(LATER)
        assert len(timed.get_ready_tasks([TODO])) == 1
    slow = sum("/issues" in request for request in gitlab.log)
    assert 1 <= slow <= 4, "in 16 s, where one read in 1.5 s is usual"
