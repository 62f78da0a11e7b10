"""What a board on Jira costs, that its search lags, its limits, and its webhook."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from athanore.errors import (
    BoardAccessError,
    BoardUnavailableError,
    InvalidTaskError,
    TaskNotFoundError,
    WebhookRefusedError,
)
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.jira.adapter import JiraAdapter
from athanore.queue_adapters.jira.webhook import Deliveries
from athanore.queue_adapters.tracker import picture
from athanore.testing.doubles.jira import JiraDouble
from athanore.testing.doubles.jira.server import PERSON

TODO, PROGRESS, DONE = "Todo", "In Progress", "Done"
SECRET = "secret-of-the-webhook"
RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("deliveries.json").read_text(encoding="utf-8")
)


def test_a_poll_is_one_request_and_a_thousand_issues_are_ten(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    jira.issue("a", TODO)
    for _ in range(3):
        assert len(adapter.get_ready_tasks([TODO, PROGRESS])) == 1
    assert jira.log == [
        "GET /project/ENG/statuses",
        "GET /serverInfo",
        "POST /search/jql",
    ]
    for n in range(999):
        jira.issue(f"issue {n}", TODO)["fields"]["updated"] = "2026-01-01T00:00:00.000+0000"
    monkeypatch.setattr(picture, "MAX_AGE", 0)
    jira.log.clear()
    assert len(adapter.get_ready_tasks([TODO, PROGRESS])) == 1_000
    assert jira.log == ["POST /search/jql"] * 10
    jira.log.clear()
    assert len(adapter.get_ready_tasks([TODO])) == 1_000
    assert jira.log == ["POST /search/jql"]


def test_a_jira_without_ranks_is_read_in_the_order_of_its_issues_making(
    jira: JiraDouble, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(picture, "MAX_AGE", 0)
    jira.state.has_ranks = False
    for name in "ab":
        jira.issue(name, TODO)
    for prepared in (True, False):
        caplog.clear()
        adapter = jira.board().create_adapter()
        if prepared:
            adapter.prepare([TODO])
            assert "has no ranks" in caplog.text
            caplog.clear()
        for _ in range(2):
            assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["a", "b"]
        assert caplog.text.count("has no ranks") == (not prepared)
        jira.log.clear()
        adapter.get_ready_tasks([TODO])
        assert jira.log == ["POST /search/jql"]
        adapter.close()


def test_a_search_that_is_refused_for_another_reason_is_an_error(jira: JiraDouble) -> None:
    adapter = jira.board(jql="nonsense").create_adapter()
    jira.fail("POST", "/search", 400, 2)
    with pytest.raises(InvalidTaskError):
        adapter.get_ready_tasks([TODO])
    assert adapter.get_ready_tasks([TODO]) == []
    adapter.close()


def test_what_leaves_between_two_pages_of_a_data_center_hides_no_issue(
    jira: JiraDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MAX_AGE", 0)
    jira.start_anew(TODO, PROGRESS, DONE, deployment="Server")
    adapter = jira.board().create_adapter()
    rows = [jira.issue(f"issue {n}", TODO) for n in range(150)]
    for row in rows:
        row["fields"]["updated"] = "2026-01-01T00:00:00.000+0000"

    def move() -> None:
        rows[0]["fields"]["status"] = jira.state.statuses[DONE]
        jira.state.touch(rows[0])

    pages = "POST /search"
    jira.wire.before[pages] = lambda: jira.wire.before.update({pages: move})
    assert len(adapter.get_ready_tasks([TODO])) == 149
    assert len(adapter.get_ready_tasks([TODO])) == 149
    assert rows[100]["key"] in {task.id for task in adapter.get_ready_tasks([TODO])}
    adapter.close()


def test_a_task_says_who_made_it_how_urgent_it_is_and_when(
    jira: JiraDouble, adapter: JiraAdapter
) -> None:
    fields = jira.issue("a", TODO)["fields"]
    (task,) = adapter.get_ready_tasks([TODO])
    assert task == adapter.get_task(task.id)
    assert (task.author, task.priority) == (PERSON, "Medium")
    assert task.created_at == datetime.fromisoformat(fields["created"])
    assert task.updated_at == datetime.fromisoformat(fields["updated"])


def test_a_claim_is_ten_requests_and_a_move_four(jira: JiraDouble, adapter: JiraAdapter) -> None:
    jira.issue("a", TODO)
    adapter.get_ready_tasks([TODO])
    assert adapter.user
    jira.log.clear()
    claim_task(adapter, "ENG-1", source_queue=TODO, target_queue=PROGRESS)
    assert len(jira.log) <= 12
    jira.log.clear()
    adapter.move_task("ENG-1", DONE)
    issue = "/issue/ENG-1"
    assert jira.log == [
        f"GET {issue}",
        f"GET {issue}/transitions",
        f"POST {issue}/transitions",
        f"GET {issue}",
    ]


def test_our_own_writes_are_seen_though_the_search_lags(
    jira: JiraDouble, adapter: JiraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MAX_AGE", 0)
    jira.issue("a", TODO)
    assert [task.id for task in adapter.get_ready_tasks([TODO, DONE])] == ["ENG-1"]
    jira.state.lag()
    adapter.move_task("ENG-1", DONE)
    second = adapter.create_task(TODO, "b").id
    assert [t.id for t in adapter.get_ready_tasks([TODO, DONE])] == [second, "ENG-1"]
    monkeypatch.setattr(picture, "OWN_COUNTS", 0)  # Jira is told of them, too
    assert [t.id for t in adapter.get_ready_tasks([TODO, DONE])] == [second, "ENG-1"]


def test_a_board_may_be_a_part_of_a_project(jira: JiraDouble) -> None:
    jira.issue("a", TODO, "agent")
    jira.issue("b", TODO)
    adapter = jira.board(jql="labels = agent").create_adapter()
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["a"]
    adapter.close()


def test_within_a_limit_nothing_is_asked(jira: JiraDouble, adapter: JiraAdapter) -> None:
    jira.issue("a", TODO)
    jira.refuse_for(300)
    with pytest.raises(BoardUnavailableError) as caught:
        adapter.add_comment("ENG-1", "hello")
    wait = caught.value.retry_after
    assert wait is not None
    assert timedelta(seconds=200) < wait <= timedelta(seconds=301)
    asked = len(jira.log)
    with pytest.raises(BoardUnavailableError, match="rate limit"):
        adapter.get_ready_tasks([TODO])
    assert len(jira.log) == asked


def test_reads_become_rare_before_the_bucket_of_a_data_center_is_empty(
    jira: JiraDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    jira.start_anew(TODO, PROGRESS, DONE, deployment="Server")
    jira.issue("a", TODO)
    jira.state.bucket = 200, 30
    monkeypatch.setattr(picture, "MAX_AGE", 0)
    adapter = jira.board().create_adapter()
    adapter.get_ready_tasks([TODO])
    (quota,) = adapter.quotas()
    assert (quota.name, quota.limit) == ("requests", 200)
    assert 20 < quota.remaining <= 30
    jira.log.clear()
    for _ in range(10):
        assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["a"]
    assert jira.log == [], "a fifth is left: the next read comes in a minute or so"
    adapter.close()


def test_a_revoked_token_and_a_hidden_project_are_told(
    jira: JiraDouble, adapter: JiraAdapter
) -> None:
    jira.issue("a", TODO)
    with pytest.raises(TaskNotFoundError):
        adapter.get_task("ENG-99")
    account = jira.revoke()
    with pytest.raises(BoardAccessError, match="refuses the token"):
        adapter.get_task("ENG-1")
    jira.grant(account)
    jira.state.is_visible = False
    with pytest.raises(BoardAccessError, match="cannot see the project 'ENG'"):
        adapter.get_task("ENG-1")


@pytest.mark.parametrize("delivery", RECORDED, ids=range(len(RECORDED)))
def test_a_recorded_delivery_is_genuine_and_counts_once(delivery: dict[str, Any]) -> None:
    headers = {name.lower(): value for name, value in delivery["headers"].items()}
    body = delivery["body"].encode()
    deliveries = Deliveries("ENG")
    read = deliveries.read(headers, body, delivery["secret"])
    assert read is not None
    assert read[0].startswith("ENG-")
    assert deliveries.read(headers, body, delivery["secret"]) is None, "it comes again"
    assert Deliveries("OTHER").read(headers, body, delivery["secret"]) is None
    with pytest.raises(WebhookRefusedError):
        deliveries.read(headers, body + b" ", delivery["secret"])
    with pytest.raises(WebhookRefusedError):
        deliveries.read({}, body, delivery["secret"])


def test_a_persons_move_concerns_both_queues_and_is_seen_though_the_search_lags(
    jira: JiraDouble, adapter: JiraAdapter
) -> None:
    def delivered(number: int) -> list[str]:
        ids = {name: row["id"] for name, row in jira.state.statuses.items()}
        item = {"fieldId": "status", "from": ids[DONE], "to": ids[TODO]}
        event = {"timestamp": number, "issue": row, "changelog": {"items": [item]}}
        body = json.dumps(event).encode()
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"x-hub-signature": f"sha256={digest}"}
        return adapter.queues_of_delivery(headers, body, SECRET, [TODO, PROGRESS, DONE])

    row = jira.issue("a", DONE)
    assert adapter.get_ready_tasks([TODO]) == []
    jira.state.lag()
    row["fields"]["status"] = jira.state.statuses[TODO]
    assert delivered(1) == [TODO, DONE]
    assert [task.name for task in adapter.get_ready_tasks([TODO])] == ["a"]
    adapter.move_task("ENG-1", PROGRESS)
    assert delivered(2) == [], "that was our own"
