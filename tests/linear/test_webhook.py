"""Linear's webhook: recorded deliveries are verified as they came, fresh, and each counts once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.base import SupportsSignedWebhook
from athanore.queue_adapters.linear.adapter import LinearAdapter
from athanore.queue_adapters.linear.webhook import Deliveries
from athanore.testing.doubles.linear import LinearDouble

SECRET = "secret-of-the-webhook"
RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("deliveries.json").read_text(encoding="utf-8")
)["deliveries"]
TEAM = "00000011-0000-4000-8000-000000000011"
QUEUES = ["Todo", "In Progress", "Done"]


@pytest.mark.parametrize("delivery", RECORDED, ids=lambda d: d["headers"]["Linear-Event"])
def test_a_recorded_delivery_is_genuine_fresh_and_counts_once(delivery: dict[str, Any]) -> None:
    headers = {name.lower(): value for name, value in delivery["headers"].items()}
    body, secret = delivery["body"].encode(), delivery["secret"]
    told = json.loads(body)
    deliveries = Deliveries(lambda: delivery["now_ms"] / 1000)
    read = deliveries.read(headers, body, secret, TEAM)
    if told["type"] in ("Issue", "Comment"):
        assert read is not None
        assert read.issue in (told["data"]["id"], told["data"].get("issueId"))
    assert deliveries.read(headers, body, secret, TEAM) is None, "it comes again"
    for forged in (body + b" ", b""):
        with pytest.raises(WebhookRefusedError, match="signing secret"):
            deliveries.read(headers, forged, secret, TEAM)
    with pytest.raises(WebhookRefusedError):
        deliveries.read(headers, body, "another secret", TEAM)
    late = Deliveries(lambda: delivery["now_ms"] / 1000 + 61)
    with pytest.raises(WebhookRefusedError, match="over 60 s"):
        late.read(headers, body, secret, TEAM)
    other = Deliveries(lambda: delivery["now_ms"] / 1000)
    if told["type"] == "Issue":
        assert other.read(headers, body, secret, "another team") is None


def test_a_persons_move_concerns_both_queues_and_is_seen_by_the_next_poll(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    assert isinstance(adapter, SupportsSignedWebhook)
    assert adapter.get_ready_tasks(["Todo"]) == []
    row = linear.issue("a", "Backlog")
    linear.move(row["id"], "Todo")
    before = {"stateId": linear.state.state("In Progress")["id"]}
    data = {
        "id": row["id"], "teamId": row["team"]["id"], "stateId": row["state"]["id"],
        "updatedAt": row["updatedAt"],
    }  # fmt: skip
    told = linear.delivery("Issue", data, SECRET, before)
    assert adapter.queues_of_delivery(*told, SECRET, QUEUES) == ["Todo", "In Progress"]
    assert adapter.queues_of_delivery(*told, SECRET, QUEUES) == [], "it comes again"
    assert [task.name for task in adapter.get_ready_tasks(["Todo"])] == ["ENG-1 a"]
    comment = {"id": "x", "issueId": row["id"], "issue": {"id": row["id"]}}
    told = linear.delivery("Comment", comment, SECRET)
    assert adapter.queues_of_delivery(*told, SECRET, QUEUES) == ["Todo"]
    old = linear.delivery("Issue", data, SECRET, age=120)
    with pytest.raises(WebhookRefusedError):
        adapter.queues_of_delivery(*old, SECRET, QUEUES)


def test_our_own_changes_and_nonsense_concern_no_queue(
    linear: LinearDouble, adapter: LinearAdapter
) -> None:
    row = linear.issue("a")
    adapter.get_ready_tasks(["Todo"])
    adapter.move_task(row["id"], "In Progress")
    adapter.add_comment(row["id"], "hello")
    (comment,) = linear.state.comments.values()
    issue = {
        "id": row["id"], "teamId": row["team"]["id"], "stateId": row["state"]["id"],
        "updatedAt": linear.state.issue("ENG-1")["createdAt"],
    }  # fmt: skip
    mine: dict[str, Any] = {"id": comment["id"], "issue": {"id": row["id"]}}
    for kind, data in (("Issue", issue), ("Comment", mine), ("Project", {}), ("Issue", {})):
        told = linear.delivery(kind, data, SECRET)
        assert adapter.queues_of_delivery(*told, SECRET, QUEUES) == []
