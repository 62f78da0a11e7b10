"""A GitHub that loses answers, refuses for a while, or takes access away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    TaskNotFoundError,
)
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.tracker import looking
from athanore.testing.doubles.github import GitHubDouble
from athanore.testing.doubles.github.app import Limit
from athanore.testing.doubles.wire import Kind
from tests.github.conftest import Clock
from tests.support import wait_until

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"


@pytest.fixture
def issue(github: GitHubDouble) -> int:
    return github.issue("Fix crash", "agent:Todo")["number"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look twice for a comment without waiting in between."""
    monkeypatch.setattr(looking, "LOOKS", (0.0, 0.0))


# --- answers that are lost ---


@pytest.mark.parametrize("kind", ["lost", "cut"])
def test_a_comment_whose_answer_is_lost_is_found_and_there_once(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int, kind: Kind
) -> None:
    github.fail("POST", "/comments", kind)
    adapter.add_comment("1", "Half of it works.")
    assert [c.text for c in adapter.get_task("1").comments] == ["Half of it works."]
    assert len(github.comments(issue)) == 1


@pytest.mark.usefixtures("impatient")
def test_a_comment_that_did_not_arrive_is_sent_once_more(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    github.fail("POST", "/comments", 500)
    adapter.add_comment("1", "Half of it works.")
    assert [c.text for c in adapter.get_task("1").comments] == ["Half of it works."]
    github.fail("POST", "/comments", 500, times=2)
    with pytest.raises(AnswerLostError):
        adapter.add_comment("1", "The other half, too.")
    assert len(github.comments(issue)) == 1


@pytest.mark.usefixtures("impatient")
def test_a_comment_that_arrived_twice_after_all_is_read_once(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    github.fail("POST", "/comments", "lost")
    github.fail("GET", "/comments", "page")
    with pytest.raises(AnswerLostError):
        adapter.add_comment("1", "Half of it works.")
    (text,) = github.comments(issue)
    github.state.add_comment(github.state.issue(issue), "athanore-bot", text)
    assert [c.text for c in adapter.get_task("1").comments] == ["Half of it works."]


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
@pytest.mark.usefixtures("impatient")
def test_an_issue_whose_answer_is_lost_is_made_once(
    github: GitHubDouble, adapter: GitHubAdapter, kind: Kind
) -> None:
    github.fail("POST", "/issues", kind)
    created = adapter.create_task(TODO, "Fix crash", "It crashes.")
    assert adapter.get_task(created.id) == created
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == [created.id]


@pytest.mark.parametrize("kind", ["lost", "cut", 500])
@pytest.mark.usefixtures("issue")
def test_an_update_survives_lost_answers(
    github: GitHubDouble, adapter: GitHubAdapter, kind: Kind
) -> None:
    for method, path in (("PATCH", "/issues/1"), ("POST", "/labels"), ("POST", "/assignees")):
        github.fail(method, path, kind)
    task = adapter.update_task(
        "1", name="new", description="@octocat said", labels=["bug"], assignees=["octocat"]
    )
    assert (task.name, task.description) == ("new", "@octocat said")
    assert (task.labels, task.assignees) == (("bug",), ("octocat",))


@pytest.mark.usefixtures("issue")
def test_reads_are_repeated_and_a_proxys_page_is_no_answer(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    github.fail("GET", "/issues", 502)
    github.fail("GET", "/labels", 503)
    assert [task.id for task in adapter.get_ready_tasks([TODO])] == ["1"]
    github.fail("GET", "/issues/1", "page")
    with pytest.raises(BoardUnavailableError, match="does not answer like GitHub"):
        adapter.get_task("1")


# --- limits ---


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("primary", 200, 301), ("secondary", 200, 301), ("silent", 31, 60)]
)
@pytest.mark.usefixtures("issue")
def test_a_limit_is_told_at_once_and_nothing_is_sent_while_it_lasts(
    github: GitHubDouble, adapter: GitHubAdapter, kind: Limit, least: float, most: float
) -> None:
    github.state.ahead = timedelta(hours=3)  # our clock may be wrong
    github.refuse_for(300, kind)
    calls: list[Callable[[], object]] = [
        lambda: adapter.get_ready_tasks([TODO]),
        lambda: adapter.get_task("1"),
        lambda: adapter.add_comment("1", "Seen."),
        lambda: adapter.move_task("1", DONE),
        lambda: claim_task(adapter, "1", source_queue=TODO, target_queue=PROGRESS),
    ] * 3
    told: list[timedelta | None] = []

    def run(call: Callable[[], object]) -> None:
        with pytest.raises(BoardUnavailableError) as caught:
            call()
        told.append(caught.value.retry_after)

    run(calls[0])
    assert len(github.log) == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, calls))
    assert len(github.log) == 1
    assert all(wait and least < wait.total_seconds() <= most for wait in told)


@pytest.mark.usefixtures("issue")
def test_after_a_limit_work_goes_on_by_itself(github: GitHubDouble, adapter: GitHubAdapter) -> None:
    github.refuse_for(1, "secondary")

    def moved() -> bool:
        try:
            adapter.move_task("1", DONE)
        except BoardUnavailableError:
            return False
        return True

    assert not moved()
    wait_until("the limit is over", moved)
    assert github.labels(1) == ["agent:Done"]


@pytest.mark.usefixtures("issue")
def test_a_write_that_waits_its_turn_is_not_sent_into_a_limit(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    adapter.get_ready_tasks([TODO])
    github.refuse_for(300, "secondary")
    barrier = threading.Barrier(8)

    def comment(n: int) -> None:
        barrier.wait(timeout=30)
        with pytest.raises(BoardUnavailableError):
            adapter.add_comment("1", f"{n}")

    github.log.clear()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(comment, range(8)))
    assert github.log == ["POST /repos/octo-org/website/issues/1/comments"]


# --- access ---


def everything(adapter: GitHubAdapter) -> list[Callable[[], object]]:
    return [
        lambda: adapter.get_ready_tasks([TODO]),
        lambda: adapter.list_queues(),
        lambda: adapter.get_task("1"),
        lambda: adapter.move_task("1", DONE),
        lambda: adapter.add_comment("1", "Seen."),
        lambda: adapter.update_task("1", name="x"),
        lambda: adapter.create_task(TODO, "x"),
        lambda: claim_task(adapter, "1", source_queue=TODO, target_queue=PROGRESS),
    ]


def revoked(github: GitHubDouble) -> None:
    github.revoke()


def invisible(github: GitHubDouble) -> None:
    github.state.is_visible = False


def without_issues(github: GitHubDouble) -> None:
    github.state.has_issues = False


def moved_on(github: GitHubDouble) -> None:
    github.state.moved_to = "https://api.github.com/repositories/7"


@pytest.mark.parametrize(
    ("taken_away", "says"),
    [
        (revoked, "refuses the token.*make a new one"),
        (invisible, "cannot see the issues of 'octo-org/website'"),
        (without_issues, "cannot see the issues of 'octo-org/website'.*disabled"),
        (moved_on, "has moved to https://api.github.com/repositories/7"),
    ],
)
@pytest.mark.usefixtures("issue")
def test_no_task_counts_as_gone_because_access_is(
    github: GitHubDouble,
    timed: GitHubAdapter,
    clock: Clock,
    taken_away: Callable[[GitHubDouble], None],
    says: str,
) -> None:
    timed.get_ready_tasks([TODO])
    taken_away(github)
    clock.forward(10)
    for call in everything(timed):
        with pytest.raises(BoardAccessError, match=says):
            call()


def test_a_locked_issue_takes_no_comment_and_all_else_goes_on(
    github: GitHubDouble, adapter: GitHubAdapter, issue: int
) -> None:
    with github.wire.lock:
        github.state.issue(issue)["locked"] = True
    with pytest.raises(BoardError, match="because issue is locked") as refused:
        adapter.add_comment("1", "Half of it works.")
    assert not isinstance(refused.value, BoardAccessError), "the access is as it should be"
    adapter.move_task("1", "Done")
    assert adapter.get_task("1").queue_name == "Done"


@pytest.mark.usefixtures("issue")
def test_a_permission_that_is_missing_is_named(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    github.state.accounts["github_pat_of_the_double"].may_write = False
    for call in everything(adapter)[3:]:
        with pytest.raises(BoardAccessError, match=r"permission issues: write"):
            call()
    with pytest.raises(BoardAccessError, match=r"permission issues: write"):
        adapter.prepare([TODO])


@pytest.mark.parametrize("task_id", ["99", "0", "01", "1/comments", "x", "1 ", "-1", "99999999999"])
def test_what_is_no_issue_is_not_found(adapter: GitHubAdapter, task_id: str) -> None:
    with pytest.raises(TaskNotFoundError):
        adapter.get_task(task_id)


def test_an_issue_that_cannot_be_read_hides_no_other(
    github: GitHubDouble, adapter: GitHubAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    github.wire.check = None  # what follows is not as GitHub describes it
    github.issue("odd", "agent:Todo")["assignees"] = [None]
    github.issue("Fix crash", "agent:Todo")
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["Fix crash"]
    assert "An issue of GitHub cannot be read" in caplog.text
    with pytest.raises(BoardError):
        adapter.get_task("1")
