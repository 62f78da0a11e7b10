"""What a team in Linear is as a board, and what that costs: the numbers of docs/boards.md."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from athanore.errors import (
    BoardAccessError,
    ConfigurationError,
    InvalidTaskError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.linear import LinearBoard
from athanore.queue_adapters.linear.adapter import LinearAdapter
from athanore.queue_adapters.tracker import picture
from athanore.queue_adapters.tracker.picture import MAX_AGE, OWN_COUNTS
from athanore.testing.doubles.linear import LinearDouble
from athanore.testing.doubles.linear.server import PERSON
from tests.linear.conftest import Clock

TODO, PROGRESS, REVIEW, DONE = "Todo", "In Progress", "In Review", "Done"


def test_an_issue_is_a_task_with_all_that_linear_knows_of_it(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    first = linear.issue("Fix crash", TODO, "It crashes.\n\n- [ ] reproduce\n- [x] log")
    first["priority"] = 2.0
    other, done = linear.issue("Before that", PROGRESS), linear.issue("Long ago", DONE)
    linear.state.block(other, first)
    linear.state.block(done, first)
    (task,) = adapter.get_ready_tasks([TODO])
    assert (task.id, task.name) == (first["id"], "ENG-1 Fix crash")
    assert task.url == "https://linear.test/acme/issue/ENG-1"
    assert (task.author, task.priority) == (PERSON, "High")
    assert task.created_at == datetime.fromisoformat(first["createdAt"])
    assert task.updated_at == datetime.fromisoformat(first["updatedAt"])
    assert adapter.get_task(other["id"]).priority is None
    assert [(item.name, item.is_completed) for item in task.tasks] == [
        ("reproduce", False),
        ("log", True),
    ]
    assert task.blocked_by == (other["id"],), "what is closed blocks nothing"
    assert adapter.get_task("ENG-1") == adapter.get_task(first["id"]) == task
    assert adapter.id_of("eng-1") == first["id"]
    assert adapter.id_of("any text") == "any text"
    renamed = adapter.update_task(first["id"], name="ENG-1 Fix the crash")
    assert renamed.name == "ENG-1 Fix the crash"
    assert linear.state.issue("ENG-1")["title"] == "Fix the crash"


def test_an_open_issue_that_blocks_one_behind_many_closed_ones_is_found(
    linear: LinearDouble, adapter: LinearAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MAX_AGE", 0)
    blocked = linear.issue("blocked")
    blockers = [linear.issue(f"blocker {n}", DONE) for n in range(129)]
    blockers.append(last := linear.issue("the last one", PROGRESS))
    for blocker in blockers:
        linear.state.block(blocker, blocked)
    for _ in range(3):
        (task,) = adapter.get_ready_tasks([TODO])
        assert task.blocked_by == (last["id"],)
    assert adapter.get_task(blocked["id"]).blocked_by == (last["id"],)
    assert linear.log.count("Relations") == 2, "one for each 100"


def test_closed_archived_and_snoozed_issues_are_not_ready(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    rows = [linear.issue(name) for name in ("archived", "trashed", "snoozed", "ready")]
    linear.issue("closed", DONE)
    rows[0]["archivedAt"] = linear.state.time()
    rows[1]["trashed"] = True
    rows[2]["snoozedUntilAt"] = "2999-01-01T00:00:00.000Z"
    assert [task.name for task in adapter.get_ready_tasks([TODO, DONE])] == ["ENG-4 ready"]
    assert adapter.get_task("ENG-1").queue_name == "(archived)"
    queues = {queue.name: queue for queue in adapter.list_queues()}
    assert list(queues) == ["Backlog", TODO, PROGRESS, REVIEW, DONE, "Canceled", "Duplicate"]
    assert [name for name, queue in queues.items() if not queue.is_open] == list(queues)[4:]
    with pytest.raises(TaskMovedError):
        claim_task(adapter, rows[0]["id"], source_queue=TODO, target_queue=PROGRESS)


def test_a_poll_of_any_number_of_queues_is_one_request(
    linear: LinearDouble, timed: LinearAdapter
) -> None:
    linear.issue("a")
    queues = [[TODO], [PROGRESS], [REVIEW], [TODO, PROGRESS]] * 4
    barrier = threading.Barrier(len(queues))

    def poll(names: list[str]) -> int:
        barrier.wait(timeout=30)
        return len(timed.get_ready_tasks(names))

    with ThreadPoolExecutor(len(queues)) as pool:
        found = list(pool.map(poll, queues))
    assert found == [1, 0, 0, 1] * 4
    assert linear.log == ["Team", "Labels", "Issues"]
    told = {quota.name: (quota.limit, quota.remaining) for quota in timed.quotas()}
    assert told == {"requests": (2500, 2497), "complexity": (3_000_000, 2_999_964)}


def test_a_claim_is_three_requests_a_move_two_and_a_comment_one(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    task_id = linear.issue("a")["id"]
    adapter.get_ready_tasks([TODO])
    linear.log.clear()
    task = claim_task(adapter, task_id, source_queue=TODO, target_queue=PROGRESS)
    assert (task.queue_name, task.assignees) == (PROGRESS, ("athanore",))
    assert linear.log == ["Whole", "Update", "Issue"]
    linear.log.clear()
    adapter.add_comment(task_id, "Done.")
    adapter.move_task(task_id, DONE)
    assert linear.log == ["AddComment", "Issue", "Update"]
    assert linear.queue(task_id) == DONE


def test_a_thousand_issues_are_ten_requests_once_and_then_one_a_poll(
    linear: LinearDouble, timed: LinearAdapter, clock: Clock
) -> None:
    for n in range(1_000):
        linear.issue(f"issue {n}", TODO if n % 2 else "Backlog")
    assert len(timed.get_ready_tasks([TODO])) == 500
    assert linear.log.count("Issues") == 10
    linear.state.ahead = timedelta(minutes=5)
    linear.move("ENG-2", DONE)
    linear.move("ENG-1", TODO)
    clock.forward(MAX_AGE)
    timed.get_ready_tasks([TODO])  # all 1,000 were made in the minute before the reading
    linear.log.clear()
    clock.forward(MAX_AGE)
    found = [task.name for task in timed.get_ready_tasks([TODO])]
    assert linear.log == ["Issues"]
    assert len(found) == 500 and "ENG-1 issue 0" in found and "ENG-2 issue 1" not in found


def test_what_was_imported_at_once_is_not_read_again_by_every_poll(
    linear: LinearDouble, timed: LinearAdapter, clock: Clock
) -> None:
    for n in range(250):
        linear.issue(f"issue {n}", TODO)["updatedAt"] = "2026-01-01T00:00:00.000Z"
    timed.get_ready_tasks([TODO])
    clock.forward(90)
    timed.get_ready_tasks([TODO])
    linear.log.clear()
    clock.forward(MAX_AGE)
    assert len(timed.get_ready_tasks([TODO])) == 250
    assert linear.log == ["Issues"]


def test_our_own_writes_are_seen_at_once_though_reads_lag(
    linear: LinearDouble, timed: LinearAdapter, clock: Clock
) -> None:
    first = linear.issue("a")["id"]
    linear.state.lag()
    timed.move_task(first, REVIEW)
    second = timed.create_task(TODO, "b").id
    clock.forward(MAX_AGE)
    assert [t.id for t in timed.get_ready_tasks([TODO, REVIEW])] == [second, first]
    assert timed.get_task(first).queue_name == REVIEW
    linear.state.catch_up()
    clock.forward(OWN_COUNTS)
    linear.move(first, TODO)
    assert timed.get_ready_tasks([REVIEW]) == []


def test_an_app_is_delegated_to_and_a_person_is_the_assignee(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    linear.state.add_user("grace")
    linear.state.add_user("helper", is_app=True)
    linear.issue("a")
    assert adapter.update_task("ENG-1", assignees=["ada", "helper"]).assignees == ("ada", "helper")
    assert adapter.update_task("ENG-1", assignees=["helper"]).assignees == ("helper",)
    for wrong in (["ada", "grace"], ["nobody"]):
        with pytest.raises(InvalidTaskError):
            adapter.update_task("ENG-1", assignees=wrong)
    claimed = adapter.claim_task(
        adapter.id_of("ENG-1"), source_queue=TODO, target_queue=PROGRESS, assignee="athanore"
    )
    assert claimed.assignees == ("helper",), "who is there stays"


def test_labels_of_one_group_are_refused_in_linears_words(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    kind = linear.state.add_label("Type", is_group=True)
    for name in ("Bug", "Feature"):
        linear.state.add_label(name, group=kind)
    linear.issue("a")
    assert adapter.update_task("ENG-1", labels=["bug", "new"]).labels == ("Bug", "new")
    with pytest.raises(InvalidTaskError, match="several labels of a group"):
        adapter.update_task("ENG-1", labels=["Bug", "Feature"])


def test_what_is_missing_is_told_at_the_start(linear: LinearDouble, adapter: LinearAdapter) -> None:
    adapter.prepare([TODO, PROGRESS, DONE])
    assert linear.log == ["Team", "Labels", "MayWrite"]
    with pytest.raises(ConfigurationError, match=r"no state 'Doing'.*'Todo', 'In Progress'"):
        adapter.prepare([TODO, "Doing"])
    linear.state.accounts["lin_api_of_the_double"].may_write = False
    with pytest.raises(BoardAccessError, match="Read and Write"):
        adapter.prepare([TODO])
    with pytest.raises(BoardAccessError, match="refuses the key"):
        linear.board(token="lin_api_x").create_adapter().prepare([TODO])
    other = LinearBoard("OPS", token="lin_api_of_the_double", url=f"{linear.url}/graphql")
    with pytest.raises(BoardAccessError, match="no team with the key 'OPS'"):
        other.create_adapter().prepare([TODO])
    with pytest.raises(ConfigurationError, match="needs a key"):
        LinearBoard("ENG").create_adapter()
    with pytest.raises(ConfigurationError, match="no key of a team"):
        LinearBoard("ENG-12", token="x").create_adapter()


def test_texts_notify_nobody_and_are_cut(linear: LinearDouble, adapter: LinearAdapter) -> None:
    linear.issue("a")
    said = "cc https://linear.app/acme/profiles/ada, and\x00 @ada"
    adapter.add_comment("ENG-1", said)
    (text,) = linear.comments("ENG-1")
    assert "acme/profiles" not in text
    assert adapter.get_task("ENG-1").comments[0].text == said.replace("\x00", "\ufffd")
    adapter.update_task("ENG-1", description="x" * 60_000)
    assert "more cut]" in adapter.get_task("ENG-1").description
    with pytest.raises(TaskNotFoundError):
        adapter.add_comment("../../etc/passwd", "hello")
