"""Pull requests on GitHub."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import override

from athanore.errors import (
    AnswerLostError,
    BoardError,
    ConfigurationError,
    InvalidTaskError,
    PublishError,
    PublishRefusedError,
)
from athanore.forges.base import PullRequest, PullRequestState
from athanore.forges.deliveries import of_github
from athanore.forges.feedback import FeedbackKind, Heard, PullRequestNews
from athanore.forges.github_feedback import news
from athanore.forges.hosted import HostedForge
from athanore.forges.texts import BODY, PullRequestTask, PullRequestText, marked, renewed
from athanore.http_client.patience import Patience
from athanore.queue_adapters.github.access.app import (
    GitHubApp,
    Installation,
    app_of_the_environment,
    places_of,
)
from athanore.queue_adapters.github.backend import api_of
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.credentials import (
    COMMON_VARIABLES,
    OWN_VARIABLE,
    PersonalToken,
    common_token,
    own_token,
)
from athanore.queue_adapters.github.issues import Json
from athanore.queue_adapters.github.texts import TEXTS
from athanore.queue_adapters.github.webhook import genuine

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")


class GitHubForge(HostedForge[GitHubClient]):
    """Pushes branches to a repository on GitHub, and opens pull requests there.

    Nothing is asked before something is published. The token may write the contents and the pull
    requests of the repository.

    Args:
        repository: as `owner/name`.
        token: by default that in ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN (the environment, or `.env`)
            when it is first needed. No agent is given it.
        app: a GitHub App instead of a token; by default that of ATHANORE_GITHUB_APP_ID, if it is
            set. It needs the permissions Contents and Pull requests: read and write.
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

    SERVER = "GitHub"
    USER = "x-access-token"
    VARIABLES = (OWN_VARIABLE, *COMMON_VARIABLES)

    def __init__(
        self,
        repository: str,
        *,
        token: str | None = None,
        app: GitHubApp | None = None,
        url: str = "https://github.com",
        remote: str | Path | None = None,
        draft: bool = True,
        title: PullRequestText = "{task_name}",
        body: PullRequestText = BODY,
        timeout: timedelta = timedelta(seconds=20),
        retry_delays: Sequence[timedelta] = (timedelta(seconds=0.5), timedelta(seconds=2)),
    ) -> None:
        named = repository.strip().removesuffix(".git")
        if not _REPOSITORY.fullmatch(named):
            raise ConfigurationError(
                f"GitHubForge: {repository!r} is no repository; write owner/name, such as "
                '"octo-org/website".'
            )
        super().__init__(
            named,
            kind="GitHubForge",
            example="https://github.example.com",
            token=token,
            url=url,
            remote=remote,
            draft=draft,
            title=title,
            body=body,
            timeout=timeout,
            retry_delays=retry_delays,
        )
        self.app = app
        self._installation: Installation | None = None

    @override
    def _of_the_environment(self) -> str | None:
        return own_token() or common_token()

    def _installed(self) -> Installation | None:
        """The app's installation; None where a token is used.

        Raises:
            ConfigurationError: the app cannot sign.
        """
        if self._token is not None:
            return None
        app = self.app or (app_of_the_environment() if own_token() is None else None)
        if self._installation is None and app is not None:
            self._installation = Installation(
                api_of(self.url),
                app.signed_by(),
                places_of([self.repository]),
                self.repository,
                self._patience,
            )
        return self._installation

    @property
    @override
    def login(self) -> str:
        """The token of the hour, or a person's; see `Forge.login`. It may ask GitHub for one."""
        if (installed := self._installed()) is None:
            return super().login
        try:
            return f"{self.USER}:{installed.token()}" if self._remote is None else ""
        except BoardError as exc:
            raise PublishError(f"{self.repository} on {self.SERVER}: {exc}") from exc

    @property
    @override
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the token, or the app's key; see `Forge.secret_env`."""
        installed = self._installed()
        return super().secret_env if installed is None else installed.secret_env

    @property
    @override
    def secrets(self) -> frozenset[str]:
        """The token, or the app's key; see `Forge.secrets`."""
        installed = self._installed()
        return super().secrets if installed is None else installed.secrets

    @override
    def check(self) -> str | None:
        """Say what is missing; see `Forge.check`."""
        try:
            return super().check() if self._installed() is None else None
        except ConfigurationError as exc:
            return f"no GitHub App that can be used: {exc}".rstrip(".")

    @property
    @override
    def _rights(self) -> str:
        return "that may write its contents and pull requests"

    @override
    def _client_with(self, token: str) -> GitHubClient:
        credential = self._installed() or PersonalToken(token)
        return GitHubClient(api_of(self.url), credential, self._patience)

    @property
    def _patience(self) -> Patience:
        return Patience(self._timeout, self._retry_delays)

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

    @property
    def webhook(self) -> str:
        """Where its webhook delivers to; see `HearsOfPulls.webhook`."""
        return "github"

    def heard(self, headers: Mapping[str, str], body: bytes, secret: str) -> Heard | None:
        """Read a delivery of its webhook; see `HearsOfPulls.heard`."""
        event = genuine(headers, body, secret)
        return of_github(headers.get("x-github-event", ""), event, self.repository)

    def news(
        self, number: int, commit: str, kinds: Collection[FeedbackKind], seen: Collection[str]
    ) -> PullRequestNews:
        """What has come back of a pull request; see `TellsFeedback.news`."""
        with self._asking() as client:
            return news(client, self.repository, number, commit, kinds, seen, self._timeout)


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
