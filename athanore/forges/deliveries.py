"""What webhooks of forges deliver about pull requests."""

from __future__ import annotations

from typing import Final

from athanore.forges.feedback import Heard
from athanore.queue_adapters.tracker.answers import Json, mapping

_OF_GITHUB: Final = frozenset(
    {
        "check_run",
        "check_suite",
        "pull_request",
        "pull_request_review",
        "pull_request_review_comment",
    }
)


def of_github(event: str, body: Json, repository: str) -> Heard | None:
    """What an event of GitHub is about; None if it is no pull request of the repository."""
    named = str(mapping(body.get("repository")).get("full_name") or "").lower()
    if event not in _OF_GITHUB or named != repository.lower():
        return None
    check = mapping(body.get("check_suite")) or mapping(body.get("check_run"))
    if check and check.get("status") != "completed":
        return None
    pulls = [mapping(body.get("pull_request")), *map(mapping, check.get("pull_requests") or [])]
    return _heard([pull.get("number") for pull in pulls], check.get("head_sha"))


def of_gitlab(body: Json, project: str) -> Heard | None:
    """What an event of GitLab is about; None if it is no merge request of the project."""
    named = str(mapping(body.get("project")).get("path_with_namespace") or "").lower()
    if named != project.lower():
        return None
    details, merge = mapping(body.get("object_attributes")), mapping(body.get("merge_request"))
    match body.get("object_kind"):
        case "merge_request":
            return _heard([details.get("iid")], None)
        case "note" if merge:
            return _heard([merge.get("iid")], None)
        case "pipeline" if details.get("status") in ("success", "failed"):
            return _heard([merge.get("iid")], details.get("sha"))
        case _:
            return None


def _heard(numbers: list[object], commit: object) -> Heard | None:
    found = frozenset(number for number in numbers if isinstance(number, int))
    commits = frozenset({commit} if isinstance(commit, str) and commit else ())
    return Heard(found, commits) if found or commits else None
