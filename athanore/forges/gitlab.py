"""Merge requests on GitLab."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final, override
from urllib.parse import quote

from athanore.errors import AnswerLostError, ConfigurationError, InvalidTaskError, PublishError
from athanore.errors import PublishRefusedError as Refused
from athanore.forges.base import PullRequest, PullRequestState
from athanore.forges.deliveries import of_gitlab
from athanore.forges.feedback import FeedbackKind, Heard, PullRequestNews
from athanore.forges.gitlab_feedback import Look
from athanore.forges.hosted import HostedForge
from athanore.forges.texts import BODY, PullRequestTask, PullRequestText, marked, renewed
from athanore.queue_adapters.gitlab.account import (
    COMMON_VARIABLES,
    OWN_VARIABLE,
    token_of_the_environment,
)
from athanore.queue_adapters.gitlab.client import GitLabClient
from athanore.queue_adapters.gitlab.texts import TEXTS as OF_ISSUES
from athanore.queue_adapters.gitlab.webhook import check_genuine
from athanore.queue_adapters.tracker.answers import Json
from athanore.queue_adapters.tracker.deliveries import payload
from athanore.queue_adapters.tracker.texts import SPACE, Breaking

_PROJECT: Final = re.compile(r"[\w.][\w.-]*(/[\w.][\w.-]*)+")
_DRAFT: Final = "Draft: "
_STATES: Final = {"opened": PullRequestState.OPEN, "merged": PullRequestState.MERGED}

# GitLab closes the issues that title and text of a merge request name behind these words.
_WORDS: Final = (
    r"\b(clos(?:e[sd]?|ing)|fix(?:e[sd]|ing)?|resolv(?:e[sd]?|ing)|implement(?:s|ed|ing)?)"
)
_ISSUE: Final = r"(?:issues?\s+)?(?:(?:[\w./-]+)?#\d|https?://|[A-Z][A-Z0-9_]+-\d)"
_CLOSING: Final = Breaking(
    re.compile(rf"{_WORDS}(?=:?\s+{_ISSUE})", re.IGNORECASE),
    re.compile(f"{_WORDS}{SPACE}", re.IGNORECASE),
)
TEXTS: Final = replace(OF_ISSUES, breakings=(*OF_ISSUES.breakings, _CLOSING))
"""What mentions nobody, commands nothing, and closes no issue when it is merged."""


class GitLabForge(HostedForge[GitLabClient]):
    """Pushes branches to a project on GitLab, and opens merge requests there.

    Nothing is asked before something is published. The token has the scope api, and its account at
    least the role Developer in the project.

    Args:
        project: as `group/project`, with all groups.
        token: by default that in ATHANORE_GITLAB_TOKEN or GITLAB_TOKEN (the environment, or `.env`)
            when it is first needed. No agent is given it.
        url: the address of GitLab, or of a server of one's own.
        remote: where branches are pushed to; by default the project, by https with the token.
        draft: whether merge requests are opened as drafts.
        title, body: templates with the fields task_id, task_name, task_url, description, branch,
            base and commits, or functions of a `PullRequestTask`.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a read that failed in passing.

    Raises:
        ConfigurationError: the project, the address or a template cannot be understood.
    """

    SERVER = "GitLab"
    USER = "oauth2"
    VARIABLES = (OWN_VARIABLE, *COMMON_VARIABLES)

    def __init__(
        self,
        project: str,
        *,
        token: str | None = None,
        url: str = "https://gitlab.com",
        remote: str | Path | None = None,
        draft: bool = True,
        title: PullRequestText = "{task_name}",
        body: PullRequestText = BODY,
        timeout: timedelta = timedelta(seconds=20),
        retry_delays: Sequence[timedelta] = (timedelta(seconds=0.5), timedelta(seconds=2)),
    ) -> None:
        named = project.strip().strip("/").removesuffix(".git")
        if not _PROJECT.fullmatch(named):
            raise ConfigurationError(
                f"GitLabForge: {project!r} is no project; write group/project, such as "
                '"octo-group/website".'
            )
        super().__init__(
            named,
            kind="GitLabForge",
            example="https://gitlab.example.com",
            token=token,
            url=url,
            remote=remote,
            draft=draft,
            title=title,
            body=body,
            timeout=timeout,
            retry_delays=retry_delays,
        )

    @override
    def _of_the_environment(self) -> str | None:
        return token_of_the_environment()

    @property
    @override
    def _rights(self) -> str:
        return "with the scope api, and the role Developer in the project"

    @override
    def _client_with(self, token: str) -> GitLabClient:
        return GitLabClient(
            f"{self.url.removesuffix('/api/v4')}/api/v4",
            token,
            timeout=self._timeout,
            retry_delays=self._retry_delays,
        )

    @property
    def _path(self) -> str:
        return f"projects/{quote(self.repository, safe='')}"

    def find(self, branch: str) -> PullRequest | None:
        """The newest merge request of a branch, an open one first; see `Forge.find`."""
        order: Json = {
            "source_branch": branch,
            "scope": "all",
            "state": "all",
            "order_by": "created_at",
            "sort": "desc",
            "per_page": 30,
        }
        with self._asking() as client:
            rows: list[Json] = client.get(f"{self._path}/merge_requests", order)
            # That of a fork may have a branch of the same name.
            own = [row for row in rows if row["source_project_id"] == row["target_project_id"]]
            found = [_read(row) for row in own if row["source_branch"] == branch]
        is_open = [one for one in found if one.state is PullRequestState.OPEN]
        return next(iter(is_open or found), None)

    def open(self, branch: str, base: str, task: PullRequestTask) -> PullRequest:
        """Open a merge request; see `Forge.open`."""
        draft = _DRAFT if self.draft else ""
        fields: Json = {
            "title": TEXTS.title(draft + TEXTS.harmless(self._texts.title(task))),
            "description": TEXTS.body(marked(self._texts.body(task))),
            "source_branch": branch,
            "target_branch": base,
        }
        try:
            with self._asking(InvalidTaskError, AnswerLostError) as client:
                return _read(client.write("POST", f"{self._path}/merge_requests", fields))
        except (InvalidTaskError, AnswerLostError) as exc:
            there = self.find(branch)
            if there is not None and there.state is PullRequestState.OPEN:
                return there
            if isinstance(exc, AnswerLostError):
                raise PublishError(str(exc)) from exc
            raise Refused(f"GitLab opens no merge request: {exc}") from exc

    def update(self, found: PullRequest, task: PullRequestTask) -> None:
        """Bring our part of the text up to date; see `Forge.update`."""
        text = renewed(found.body, TEXTS.harmless(self._texts.body(task)))
        if text is None or text == found.body.replace("\r\n", "\n"):
            return
        # What people wrote around it is theirs, and not defused.
        with self._asking() as client:
            path = f"{self._path}/merge_requests/{found.number}"
            client.write("PUT", path, {"description": text})

    @property
    def webhook(self) -> str:
        """Where its webhook delivers to; see `HearsOfPulls.webhook`."""
        return "gitlab"

    def heard(self, headers: Mapping[str, str], body: bytes, secret: str) -> Heard | None:
        """Read a delivery of its webhook; see `HearsOfPulls.heard`."""
        check_genuine(headers, body, secret, time.time())
        return of_gitlab(payload(body), self.repository)

    def news(
        self, number: int, commit: str, kinds: Collection[FeedbackKind], seen: Collection[str]
    ) -> PullRequestNews:
        """What has come back of a merge request; see `TellsFeedback.news`."""
        with self._asking() as client:
            return Look(client, self._path, number, self.url, self._timeout).news(
                commit, kinds, seen
            )


def _read(row: Json) -> PullRequest:
    return PullRequest(
        number=int(row["iid"]),
        url=str(row["web_url"]),
        state=_STATES.get(row["state"], PullRequestState.CLOSED),
        head=str(row.get("sha") or ""),
        body=str(row.get("description") or ""),
    )
