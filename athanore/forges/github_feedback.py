"""What comes back of a pull request on GitHub: three requests, and more where something is new."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Final

from athanore.errors import BoardAccessError, BoardError
from athanore.forges.base import PullRequestState
from athanore.forges.feedback import Feedback, FeedbackKind, PullRequestNews
from athanore.forges.logs import TAIL, end_of_log
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.issues import Json
from athanore.queue_adapters.tracker.answers import MissingError, mapping
from athanore.texts import readable

_MAY_WRITE: Final = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
_FAILED: Final = frozenset({"failure", "timed_out", "startup_failure"})
_VERDICTS: Final = frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})
_LOGS: Final = 3
"""Checks whose logs are read; of the others there is the name."""


def news(
    client: GitHubClient,
    repository: str,
    number: int,
    commit: str,
    kinds: Collection[FeedbackKind],
    seen: Collection[str],
    timeout: timedelta,
) -> PullRequestNews:
    """Look at a pull request; see `TellsFeedback.news`."""
    pull: Json = client.get(f"repos/{repository}/pulls/{number}")
    if pull.get("merged_at"):
        return PullRequestNews(PullRequestState.MERGED)
    if pull["state"] != "open":
        return PullRequestNews(PullRequestState.CLOSED)
    found: list[Feedback] = []
    # What somebody else has pushed is theirs.
    is_ours = str(pull["head"]["sha"]) == commit
    if FeedbackKind.CONFLICT in kinds and is_ours and pull.get("mergeable_state") == "dirty":
        base = str(pull["base"]["ref"])
        found.append(
            Feedback(
                FeedbackKind.CONFLICT,
                f"conflict:{commit}",
                f"it conflicts with {base!r}",
                f"The branch cannot be merged into {base!r}: both have changed the same places.",
            )
        )
    unseen = ""
    if FeedbackKind.CI_FAILED in kinds and is_ours:
        try:
            found += _checks(client, repository, commit, seen, timeout)
        except BoardAccessError as exc:  # reviews and conflicts count without them
            unseen = str(exc)
    if FeedbackKind.CHANGES_REQUESTED in kinds:
        found += _reviews(client, repository, number, seen)
    new = tuple(one for one in found if one.signature not in seen)
    return PullRequestNews(PullRequestState.OPEN, new, unseen)


def _checks(
    client: GitHubClient, repository: str, commit: str, seen: Collection[str], timeout: timedelta
) -> Iterator[Feedback]:
    path = f"repos/{repository}/commits/{commit}/check-runs"
    rows: list[Json] = client.get(path, {"per_page": 100, "filter": "latest"})["check_runs"]
    failed = [row for row in rows if row.get("conclusion") in _FAILED]
    if not failed or any(row["status"] != "completed" for row in rows):
        return
    numbers = "-".join(str(row["id"]) for row in sorted(failed, key=lambda row: int(row["id"])))
    signature = f"ci:{commit}:{numbers}"[:200]
    if signature in seen:
        return
    names = ", ".join(repr(str(row["name"])) for row in failed)
    texts = [_failure(client, repository, row, timeout) for row in failed[:_LOGS]]
    yield Feedback(
        FeedbackKind.CI_FAILED, signature, f"CI failed: {names[:300]}", "\n\n".join(texts)
    )


def _failure(client: GitHubClient, repository: str, row: Json, timeout: timedelta) -> str:
    """What a check says of its failure: the end of its log, or its own summary."""
    said = ""
    if mapping(row.get("app")).get("slug") == "github-actions":
        said = _log(client, f"repos/{repository}/actions/jobs/{row['id']}/logs", timeout)
    if not said:
        output = mapping(row.get("output"))
        parts = [str(output[name]) for name in ("title", "summary", "text") if output.get(name)]
        said = "\n".join(parts)
    end = readable(said).strip()[-TAIL:]
    return f"{row['name']} ({row['conclusion']}):\n{end or row.get('html_url') or ''}"


def _log(client: GitHubClient, path: str, timeout: timedelta) -> str:
    """The log of a job, which is at another server; that is given no token."""
    try:
        client.get(path)
    except MissingError as exc:
        if exc.place is None or not exc.place.startswith(("https://", "http://")):
            return ""
        place = exc.place
    except BoardError:
        return ""  # a token that may not read it, or a log that is gone: the failure is known
    else:
        return ""
    return end_of_log(place, timeout)


def _reviews(
    client: GitHubClient, repository: str, number: int, seen: Collection[str]
) -> Iterator[Feedback]:
    """The requests for changes that stand: the newest verdict of each person who may write."""
    newest: dict[str, Json] = {}
    for page in client.pages(f"repos/{repository}/pulls/{number}/reviews"):
        for row in page:
            if row["author_association"] in _MAY_WRITE and row["state"] in _VERDICTS:
                newest[str(mapping(row.get("user")).get("login"))] = row
    asked = {who: row for who, row in newest.items() if row["state"] == "CHANGES_REQUESTED"}
    new = {who: row for who, row in asked.items() if f"review:{row['id']}" not in seen}
    if not new:
        return
    remarks: dict[object, list[str]] = {}
    for page in client.pages(f"repos/{repository}/pulls/{number}/comments"):
        for row in page:
            if row["author_association"] in _MAY_WRITE:
                place = f"{row['path']}:{row.get('line') or row.get('original_line') or ''}"
                line = f"{place}: {row['body']}"
                remarks.setdefault(row.get("pull_request_review_id"), []).append(line)
    for who, row in new.items():
        lines = [str(row.get("body") or ""), *remarks.get(row["id"], [])]
        yield Feedback(
            FeedbackKind.CHANGES_REQUESTED,
            f"review:{row['id']}",
            f"{who} requests changes",
            f"{who} writes:\n" + "\n".join(readable(line) for line in lines if line),
        )
