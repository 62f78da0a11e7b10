"""Pull requests on GitHub."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, cast

from athanore.errors import (
    AnswerLostError,
    BoardError,
    ConfigurationError,
    InvalidTaskError,
    PublishError,
    PublishRefusedError,
)
from athanore.forges.base import PullRequest, PullRequestState
from athanore.forges.feedback import FeedbackKind, PullRequestNews
from athanore.forges.github_feedback import news
from athanore.forges.texts import BODY, PullRequestTask, PullRequestText, Texts, marked, renewed
from athanore.http_client.addresses import read_address
from athanore.queue_adapters.github.account import (
    COMMON_VARIABLES,
    OWN_VARIABLE,
    token_of_the_environment,
)
from athanore.queue_adapters.github.backend import api_of
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.issues import Json
from athanore.queue_adapters.github.texts import TEXTS

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_USER: Final = "x-access-token"


class GitHubForge:
    """Pushes branches to a repository on GitHub, and opens pull requests there.

    Nothing is asked before something is published. The token may write the contents and the pull
    requests of the repository.

    Args:
        repository: as `owner/name`.
        token: by default that in ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN (the environment, or `.env`)
            when it is first needed. No agent is given it.
        url: the address of GitHub, or of a GitHub Enterprise server.
        remote: where branches are pushed to; by default the repository, by https with the token.
        draft: whether pull requests are opened as drafts, where the repository knows such.
        title, body: templates with the fields task_id, task_name, task_url, description, branch,
            base and commits, or functions of a `PullRequestTask`.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a read that failed in passing.

    Raises:
        ConfigurationError: the repository, the address or a template cannot be understood.
    """

    def __init__(
        self,
        repository: str,
        *,
        token: str | None = None,
        url: str = "https://github.com",
        remote: str | Path | None = None,
        draft: bool = True,
        title: PullRequestText = "{task_name}",
        body: PullRequestText = BODY,
        timeout: timedelta = timedelta(seconds=20),
        retry_delays: Sequence[timedelta] = (timedelta(seconds=0.5), timedelta(seconds=2)),
    ) -> None:
        self.repository = repository.strip().removesuffix(".git")
        if not _REPOSITORY.fullmatch(self.repository):
            raise ConfigurationError(
                f"GitHubForge: {repository!r} is no repository; write owner/name, such as "
                '"octo-org/website".'
            )
        self.url = read_address(url, "GitHubForge: url", "https://github.example.com")
        self.draft = draft
        # Under their own names, so that they count for the app's version.
        self.title, self.body = title, body
        self._texts = Texts(title, body)
        self._token = token
        self._remote = remote
        self._timeout = timeout
        self._retry_delays = retry_delays
        self._made: GitHubClient | None = None
        self._lock = threading.Lock()

    @property
    def remote(self) -> str:
        """Where branches are pushed to; see `Forge.remote`."""
        return f"{self.url}/{self.repository}.git" if self._remote is None else str(self._remote)

    @property
    def login(self) -> str:
        """The token, for a push by https to GitHub itself; see `Forge.login`."""
        token = self._found()
        return f"{_USER}:{token}" if token and self._remote is None else ""

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the token; see `Forge.secret_env`."""
        names, token = (OWN_VARIABLE, *COMMON_VARIABLES), self._found()
        same = {n for n in names if token and os.environ.get(n, "").strip() == token}
        return frozenset({OWN_VARIABLE, *same})

    @property
    def secrets(self) -> frozenset[str]:
        """The token; see `Forge.secrets`."""
        token = self._found()
        return frozenset({token} if token else ())

    def check(self) -> str | None:
        """Say what is missing; see `Forge.check`."""
        if self._found():
            return None
        return (
            f"no token for {self.repository} on GitHub; make one that may write its contents and "
            "pull requests, and set ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN to it"
        )

    def find(self, branch: str) -> PullRequest | None:
        """The newest pull request of a branch, an open one first; see `Forge.find`."""
        owner = self.repository.partition("/")[0]
        order = {"state": "all", "sort": "created", "direction": "desc", "per_page": 30}
        with self._asking() as client:
            rows: list[Json] = client.get(
                f"repos/{self.repository}/pulls", {**order, "head": f"{owner}:{branch}"}
            )
            found = [_read(row) for row in rows if row["head"]["ref"] == branch]
        is_open = [one for one in found if one.state is PullRequestState.OPEN]
        return next(iter(is_open or found), None)

    def open(self, branch: str, base: str, task: PullRequestTask) -> PullRequest:
        """Open a pull request; see `Forge.open`."""
        fields: Json = {
            "title": TEXTS.title(TEXTS.harmless(self._texts.title(task))),
            "body": TEXTS.body(marked(self._texts.body(task))),
            "head": branch,
            "base": base,
            "draft": self.draft,
        }
        try:
            return self._open(fields)
        except InvalidTaskError as exc:
            if (there := self._open_one(branch)) is not None:
                return there
            if not (self.draft and "draft" in str(exc).lower()):
                raise _refused(exc) from exc
        except AnswerLostError as exc:
            if (there := self._open_one(branch)) is not None:
                return there
            raise PublishError(str(exc)) from exc
        try:
            return self._open(fields | {"draft": False})
        except (InvalidTaskError, AnswerLostError) as exc:
            raise _refused(exc) from exc

    def _open(self, fields: Json) -> PullRequest:
        with self._asking(InvalidTaskError, AnswerLostError) as client:
            return _read(client.write("POST", f"repos/{self.repository}/pulls", fields))

    def _open_one(self, branch: str) -> PullRequest | None:
        found = self.find(branch)
        return found if found is not None and found.state is PullRequestState.OPEN else None

    def update(self, found: PullRequest, task: PullRequestTask) -> None:
        """Bring our part of the text up to date; see `Forge.update`."""
        text = renewed(found.body, TEXTS.harmless(self._texts.body(task)))
        if text is None or text == found.body.replace("\r\n", "\n"):
            return
        # What people wrote around it is theirs, and not defused.
        path = f"repos/{self.repository}/pulls/{found.number}"
        with self._asking() as client:
            client.write("PATCH", path, {"body": text})

    def news(
        self, number: int, commit: str, kinds: Collection[FeedbackKind], seen: Collection[str]
    ) -> PullRequestNews:
        """What has come back of a pull request; see `TellsFeedback.news`."""
        with self._asking() as client:
            return news(client, self.repository, number, commit, kinds, seen, self._timeout)

    def _found(self) -> str | None:
        given = self._token or token_of_the_environment()
        return given.strip() if given and given.strip() else None

    def _client(self) -> GitHubClient:
        with self._lock:
            if self._made is None:
                if (missing := self.check()) is not None:
                    raise PublishError(f"There is {missing}.")
                self._made = GitHubClient(
                    api_of(self.url),
                    cast("str", self._found()),
                    timeout=self._timeout,
                    retry_delays=self._retry_delays,
                )
            return self._made

    @contextmanager
    def _asking(self, *passed: type[BoardError]) -> Generator[GitHubClient]:
        """The client, whose errors become ours, but for those that the caller looks at."""
        try:
            yield self._client()
        except BoardError as exc:
            if isinstance(exc, passed):
                raise
            raise PublishError(f"{self.repository} on GitHub: {exc}") from exc
        except (KeyError, TypeError, ValueError) as exc:
            raise PublishError(f"A pull request of GitHub cannot be read: {exc!r}.") from exc


def _refused(error: BoardError) -> PublishRefusedError:
    return PublishRefusedError(f"GitHub opens no pull request: {error}")


def _read(row: Json) -> PullRequest:
    state = PullRequestState.OPEN if row["state"] == "open" else PullRequestState.CLOSED
    if row.get("merged_at"):
        state = PullRequestState.MERGED
    return PullRequest(
        number=int(row["number"]),
        url=str(row["html_url"]),
        state=state,
        head=str(row["head"]["sha"]),
        body=str(row.get("body") or ""),
    )
