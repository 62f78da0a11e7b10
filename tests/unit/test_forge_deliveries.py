"""Which pull requests deliveries of forges are about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from athanore import GitHubForge, GitLabForge
from athanore.errors import WebhookRefusedError
from athanore.forges import Heard, HearsOfPulls
from athanore.forges.deliveries import of_github

TOKEN = "secret-of-the-webhook"
SHA = "c0ffee" * 6


@pytest.mark.parametrize(
    ("event", "about", "expected"),
    [
        ("pull_request", {"pull_request": {"number": 7}}, Heard(frozenset({7}))),
        ("pull_request_review", {"pull_request": {"number": 7}}, Heard(frozenset({7}))),
        (
            "check_run",
            {"check_run": {"status": "completed", "head_sha": SHA, "pull_requests": []}},
            Heard(commits=frozenset({SHA})),
        ),
        ("check_run", {"check_run": {"status": "queued", "head_sha": SHA}}, None),
        ("pull_request", {"pull_request": "odd"}, None),
        ("issues", {"issue": {"number": 7}}, None),
    ],
)
def test_what_github_tells(event: str, about: dict[str, Any], expected: Heard | None) -> None:
    body = about | {"repository": {"full_name": "Octo-Org/website"}}
    assert of_github(event, body, "octo-org/website") == expected
    assert of_github(event, body, "octo-org/other") is None


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"object_kind": "merge_request", "object_attributes": {"iid": 7}}, Heard(frozenset({7}))),
        ({"object_kind": "note", "merge_request": {"iid": 7}}, Heard(frozenset({7}))),
        ({"object_kind": "note", "issue": {"iid": 7}}, None),
        (
            {"object_kind": "pipeline", "object_attributes": {"status": "failed", "sha": SHA}},
            Heard(commits=frozenset({SHA})),
        ),
        (
            {"object_kind": "pipeline", "object_attributes": {"status": "running", "sha": SHA}},
            None,
        ),
        ({}, None),
    ],
)
def test_what_gitlab_tells(about: dict[str, Any], expected: Heard | None) -> None:
    forge = GitLabForge("octo-group/website")
    assert isinstance(forge, HearsOfPulls) and isinstance(GitHubForge("a/b"), HearsOfPulls)
    event = about | {"project": {"path_with_namespace": "octo-group/website"}}
    body = json.dumps(event).encode()
    assert forge.heard({"x-gitlab-token": TOKEN}, body, TOKEN) == expected
    with pytest.raises(WebhookRefusedError):
        forge.heard({"x-gitlab-token": "wrong"}, body, TOKEN)
