"""What comes back of a merge request on GitLab: three requests, and more where something is new."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Final

from athanore.forges.base import PullRequestState
from athanore.forges.feedback import Feedback, FeedbackKind, PullRequestNews
from athanore.forges.logs import TAIL, end_of_log
from athanore.queue_adapters.gitlab.client import GitLabClient
from athanore.queue_adapters.tracker.answers import Json, MissingError, mapping
from athanore.texts import readable

_DEVELOPER: Final = 30
"""GitLab's number of the lowest role that may push."""

_LOGS: Final = 3
"""Jobs whose logs are read; of the others there is the name."""

_NOTES: Final = "notes:"
_REQUESTED: Final = "requested_changes"


class Look:
    """One look at a merge request.

    Args:
        project: its path below the API.
        site: where GitLab is.
        timeout: how long the log of a job may take.
    """

    def __init__(
        self, client: GitLabClient, project: str, number: int, site: str, timeout: timedelta
    ) -> None:
        self._client = client
        self._project = project
        self._path = f"{project}/merge_requests/{number}"
        self._site = site.removesuffix("/api/v4")
        self._timeout = timeout
        self._members: dict[int, bool] = {}

    def news(
        self, commit: str, kinds: Collection[FeedbackKind], seen: Collection[str]
    ) -> PullRequestNews:
        """Look at it; see `TellsFeedback.news`."""
        row: Json = self._client.get(self._path)
        if row["state"] == "merged":
            return PullRequestNews(PullRequestState.MERGED)
        if row["state"] == "closed":
            return PullRequestNews(PullRequestState.CLOSED)
        found: list[Feedback] = []
        # What somebody else has pushed is theirs.
        is_ours = row.get("sha") == commit
        if FeedbackKind.CONFLICT in kinds and is_ours and row.get("has_conflicts"):
            base = str(row["target_branch"])
            found.append(
                Feedback(
                    FeedbackKind.CONFLICT,
                    f"conflict:{commit}",
                    f"it conflicts with {base!r}",
                    f"The branch cannot be merged into {base!r}: both have changed the same "
                    "places.",
                )
            )
        if FeedbackKind.CI_FAILED in kinds and is_ours:
            found += self._pipeline(mapping(row.get("head_pipeline")), commit, seen)
        if FeedbackKind.CHANGES_REQUESTED in kinds:
            found += self._notes(commit, seen)
        new = tuple(one for one in found if one.signature not in seen)
        return PullRequestNews(PullRequestState.OPEN, new)

    def _pipeline(self, row: Json, commit: str, seen: Collection[str]) -> Iterator[Feedback]:
        """The pipeline of our commit, or of what it would be merged into, if it has failed."""
        is_ours = row.get("sha") == commit or row.get("source") == "merge_request_event"
        if not is_ours or row.get("status") != "failed":
            return
        path = f"{self._project}/pipelines/{row['id']}/jobs"
        failed = [
            job
            for page in self._client.pages(path, {"scope": "failed"})
            for job in page
            if not job.get("allow_failure")
        ]
        # A job that is run again, and fails again, has another number.
        newest = max((int(job["id"]) for job in failed), default=0)
        signature = f"ci:{commit}:{row['id']}-{newest}"
        if signature in seen:
            return
        names = ", ".join(repr(str(job["name"])) for job in failed)
        texts = [self._failure(job) for job in failed[:_LOGS]] or [str(row.get("web_url") or "")]
        yield Feedback(
            FeedbackKind.CI_FAILED, signature, f"CI failed: {names[:300]}", "\n\n".join(texts)
        )

    def _failure(self, job: Json) -> str:
        """What a job says of its failure: the end of its log."""
        place = f"{self._site}/api/v4/{self._project}/jobs/{job['id']}/trace"
        said = end_of_log(place, self._timeout, {"PRIVATE-TOKEN": self._client.token})
        end = readable(said).strip()[-TAIL:] or str(job.get("web_url") or "")
        return f"{job['name']} ({job.get('failure_reason') or job['status']}):\n{end}"

    def _notes(self, commit: str, seen: Collection[str]) -> Iterator[Feedback]:
        """What people want changed: threads that are not resolved, and all that a reviewer says
        who requests changes. Each note counts once."""
        before = max((int(one[len(_NOTES) :]) for one in seen if one.startswith(_NOTES)), default=0)
        rows: list[Json] = self._client.get(f"{self._path}/reviewers")
        asking = {mapping(r["user"])["id"]: r for r in rows if r.get("state") == _REQUESTED}
        asking = {one: row for one, row in asking.items() if self._may_write(one)}
        notes: list[Json] = []
        for page in self._client.pages(f"{self._path}/discussions"):
            for thread in page:
                open_ones = [n for n in thread["notes"] if n.get("resolvable")]
                is_open = any(not n.get("resolved") for n in open_ones)
                notes += [n for n in thread["notes"] if is_open or n["author"]["id"] in asking]
        new = [n for n in notes if int(n["id"]) > before and not n["system"] and self._counts(n)]
        if new:
            names = sorted({str(n["author"]["username"]) for n in new})
            lines = [f"{n['author']['username']}{_place(n)} writes:\n{n['body']}" for n in new]
            yield Feedback(
                FeedbackKind.CHANGES_REQUESTED,
                f"{_NOTES}{max(int(n['id']) for n in new)}",
                f"{', '.join(names)} want{'s' if len(names) == 1 else ''} changes",
                "\n\n".join(readable(line) for line in lines),
            )
        elif asking and not notes:
            names = sorted(str(row["user"]["username"]) for row in asking.values())
            said = f"{', '.join(names)} requested changes, and wrote nothing."
            yield Feedback(
                FeedbackKind.CHANGES_REQUESTED, f"review:{commit}", said.rstrip("."), said
            )

    def _counts(self, note: Json) -> bool:
        return self._may_write(int(note["author"]["id"]))

    def _may_write(self, user: int) -> bool:
        """Whether somebody may push to the project."""
        if user not in self._members:
            try:
                row: Json = self._client.get(f"{self._project}/members/all/{user}")
                self._members[user] = int(row["access_level"]) >= _DEVELOPER
            except MissingError:
                self._members[user] = False
        return self._members[user]


def _place(note: Json) -> str:
    """Where in the changes a note is."""
    position = mapping(note.get("position"))
    path = position.get("new_path") or position.get("old_path")
    if not path:
        return ""
    line = position.get("new_line") or position.get("old_line") or ""
    return f" at {path}:{line}"
