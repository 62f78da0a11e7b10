"""GitLab's webhook: deliveries are verified as they came, and each counts once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.base import SupportsSignedWebhook
from athanore.queue_adapters.gitlab.adapter import GitLabAdapter
from athanore.queue_adapters.gitlab.webhook import Deliveries
from athanore.testing.doubles.gitlab import GitLabDouble

SECRET = "secret-of-the-webhook"
RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("deliveries.json").read_text(encoding="utf-8")
)
QUEUES = ["Todo", "In Progress", "Done"]


def low(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("delivery", RECORDED, ids=range(len(RECORDED)))
@pytest.mark.parametrize("secret", ["token", "signing_token"])
def test_a_delivery_is_genuine_and_counts_once(delivery: dict[str, Any], secret: str) -> None:
    headers, body = low(delivery["headers"]), delivery["body"].encode()
    now = lambda: float(delivery["now"])  # noqa: E731
    for project in ("group/project", "4"):
        deliveries = Deliveries(project, now)
        read = deliveries.read(headers, body, delivery[secret])
        assert read is not None
        assert read.issue is not None
        assert any(label.startswith("workflow::") for label in read.labels)
        assert deliveries.read(headers, body, delivery[secret]) is None, "it comes again"
    assert Deliveries("group/other", now).read(headers, body, delivery[secret]) is None
    with pytest.raises(WebhookRefusedError):
        Deliveries("4", now).read(headers, body, "another secret")
    with pytest.raises(WebhookRefusedError):
        Deliveries("4", now).read({}, body, delivery[secret])


def test_a_signature_counts_for_five_minutes_and_this_body() -> None:
    delivery = RECORDED[0]
    headers, body, secret = low(delivery["headers"]), delivery["body"].encode(), "signing_token"
    late = Deliveries("4", lambda: delivery["now"] + 400.0)
    with pytest.raises(WebhookRefusedError, match="five minutes"):
        late.read(headers, body, delivery[secret])
    on_time = Deliveries("4", lambda: float(delivery["now"]))
    with pytest.raises(WebhookRefusedError, match="not signed"):
        on_time.read(headers, body + b" ", delivery[secret])
    with pytest.raises(WebhookRefusedError, match="no signing token"):
        on_time.read(headers, body, "whsec_?")
    several = {**headers, "webhook-signature": f"v1,AAAA {headers['webhook-signature']}"}
    assert on_time.read(several, body, delivery[secret]) is not None


def event(gitlab: GitLabDouble, row: dict[str, Any], **more: Any) -> bytes:
    """An event of an issue as GitLab sends it."""
    labels = [{"title": name} for name in row["labels"]]
    payload = {
        "object_kind": "issue",
        "project": {"id": gitlab.state.number, "path_with_namespace": gitlab.state.path},
        "object_attributes": {**row, "updated_at": "2026-11-20 10:00:00 UTC"},
        "labels": labels,
        **more,
    }
    return json.dumps(payload).encode()


def test_a_persons_label_concerns_its_queue_and_is_seen_by_the_next_poll(
    gitlab: GitLabDouble, adapter: GitLabAdapter
) -> None:
    assert isinstance(adapter, SupportsSignedWebhook)
    assert adapter.get_ready_tasks(["Todo"]) == []
    row = gitlab.issue("a", "bug", "agent::Todo")
    headers = {"x-gitlab-token": SECRET}
    before = {"labels": {"previous": [{"title": "agent::Done"}], "current": []}}
    body = event(gitlab, row, changes=before)
    assert adapter.queues_of_delivery(headers, body, SECRET, QUEUES) == ["Todo", "Done"]
    assert [task.name for task in adapter.get_ready_tasks(["Todo"])] == ["a"]


def test_our_own_changes_and_nonsense_concern_no_queue(
    gitlab: GitLabDouble, adapter: GitLabAdapter
) -> None:
    row = gitlab.issue("a", "agent::Todo")
    adapter.move_task("1", "Done")
    headers = {"x-gitlab-token": SECRET}
    other = json.dumps({"object_kind": "push", "project": {"id": gitlab.state.number}}).encode()
    for body in (event(gitlab, row), other, b"[1]", b"not JSON"):
        assert adapter.queues_of_delivery(headers, body, SECRET, QUEUES) == []
