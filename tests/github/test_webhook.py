"""GitHub's webhook: recorded deliveries are verified as they came, and each counts once."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.base import SupportsSignedWebhook
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.github.webhook import Deliveries
from athanore.testing.doubles.github import GitHubDouble

SECRET = "secret-of-the-webhook"
RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("deliveries.json").read_text(encoding="utf-8")
)
QUEUES = ["Todo", "In Progress", "Done"]
REPOSITORIES = ("Codertocat/Hello-World", "octo-org/octo-repo", "Octocoders/Hello-World")
LABELS: dict[str, set[str]] = {
    "issues labeled": {"bug"},
    "issues unlabeled": {"bug"},
    "issues assigned": {"bug"},
    "issues opened": {"bug"},
    "issues reopened": {"bug"},
    "issues transferred": set(),
    "issue_comment created": {"bug"},
    "label edited": {":bug: Bugfix"},
}
"""Which labels the recorded deliveries concern that are of a repository's issues."""


def low(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def signed(event: str, payload: object, secret: str = SECRET) -> tuple[dict[str, str], bytes]:
    """A delivery as GitHub sends it."""
    body = json.dumps(payload).encode()
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-github-event": event, "x-hub-signature-256": f"sha256={digest}"}, body


def kind_of(delivery: dict[str, Any]) -> str:
    """The event of a recorded delivery, and what was done."""
    event = delivery["headers"]["X-GitHub-Event"]
    return f"{event} {json.loads(delivery['body']).get('action', '')}".strip()


def test_of_each_kind_of_delivery_one_is_recorded() -> None:
    assert LABELS.keys() < {kind_of(delivery) for delivery in RECORDED}


@pytest.mark.parametrize("delivery", RECORDED, ids=kind_of)
def test_a_recorded_delivery_is_genuine_and_counts_once(delivery: dict[str, Any]) -> None:
    headers, body = low(delivery["headers"]), delivery["body"].encode()
    expected = LABELS.get(kind_of(delivery))
    named = json.loads(body).get("repository", {}).get("full_name", REPOSITORIES[0])
    assert named in REPOSITORIES
    deliveries = Deliveries(named)
    read = deliveries.read(headers, body, delivery["secret"])
    assert (None if read is None else read.labels) == expected
    assert read is None or read.renames is (headers["x-github-event"] == "label")
    other_id = {**headers, "x-github-delivery": "another"}
    assert deliveries.read(other_id, body, delivery["secret"]) is None, "it comes again"
    for forged in (body + b" ", b""):
        with pytest.raises(WebhookRefusedError):
            deliveries.read(headers, forged, delivery["secret"])
    with pytest.raises(WebhookRefusedError):
        deliveries.read(headers, body, "another secret")
    with pytest.raises(WebhookRefusedError):
        deliveries.read({"x-github-event": "issues"}, body, delivery["secret"])
    assert Deliveries("octo-org/other").read(headers, body, delivery["secret"]) is None


def test_a_persons_label_concerns_its_queue_and_is_seen_by_the_next_poll(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    assert isinstance(adapter, SupportsSignedWebhook)
    assert adapter.get_ready_tasks(["Todo"]) == []
    row = github.issue("a", "bug", "agent:Todo")
    repository = {"full_name": github.repository}
    payload = {"action": "labeled", "issue": row, "repository": repository}
    assert adapter.queues_of_delivery(*signed("issues", payload), SECRET, QUEUES) == ["Todo"]
    assert [task.name for task in adapter.get_ready_tasks(["Todo"])] == ["a"]
    adapter.move_task("1", "Done")
    github.state.unlabel_issue(row, "bug")
    unlabeled = {**payload, "action": "unlabeled", "label": {"name": "agent:Todo"}}
    found = adapter.queues_of_delivery(*signed("issues", unlabeled), SECRET, QUEUES)
    assert found == ["Todo", "Done"]


def test_our_own_changes_and_nonsense_concern_no_queue(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    row = github.issue("a", "agent:Todo")
    adapter.move_task("1", "Done")
    pull = github.pull_request("b", "agent:Todo")
    repository = {"full_name": github.repository}
    payloads: list[tuple[str, object]] = [
        ("issues", {"action": "labeled", "issue": row, "repository": repository}),
        ("issue_comment", {"issue": pull, "repository": repository}),
        ("issues", {"issue": {"number": "x"}, "repository": repository}),
        ("issues", {"repository": "x"}),
        ("ping", {"zen": "Design for failure.", "repository": repository}),
        ("issues", [1]),
    ]
    for event, payload in payloads:
        assert adapter.queues_of_delivery(*signed(event, payload), SECRET, QUEUES) == []


def test_a_renamed_label_is_a_renamed_queue_at_once(
    github: GitHubDouble, adapter: GitHubAdapter
) -> None:
    github.issue("a", "agent:Todo")
    assert len(adapter.get_ready_tasks(["Todo"])) == 1
    label = github.state.label("agent:Todo")
    assert label is not None
    github.state.rename_label(label, "agent:Ready")
    payload = {
        "action": "edited",
        "label": label,
        "changes": {"name": {"from": "agent:Todo"}},
        "repository": {"full_name": github.repository},
    }
    found = adapter.queues_of_delivery(*signed("label", payload), SECRET, ["Todo", "Ready", "Done"])
    assert found == ["Todo", "Ready"]
    assert [task.name for task in adapter.get_ready_tasks(["Ready"])] == ["a"]
