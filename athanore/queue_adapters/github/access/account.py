"""Whose token it is, and what that account may do."""

from __future__ import annotations

import logging
from datetime import timedelta

from athanore.errors import AnswerLostError, BoardAccessError, BoardUnavailableError
from athanore.http_client.cache import Cache
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.repository import Repository
from athanore.queue_adapters.tracker.answers import MissingError, RefusedValueError

logger = logging.getLogger(__name__)


class Account:
    """The account of a token, read when it is first needed."""

    def __init__(self, client: GitHubClient, repository: Repository, *, assigns: bool) -> None:
        self._client = client
        self._repository = repository
        self._assigns = assigns
        self._logins = Cache(self._load, timedelta(days=365))

    @property
    def assignee(self) -> str | None:
        """Whom a claim assigns; None where nobody is to be, or GitHub would not take him."""
        return self._logins.get("me") if self._assigns else None

    def check(self) -> None:
        """Make sure that the token's account sees the repository, and may change its issues.

        The write that is tried has an empty title: GitHub refuses it for that (422) where it does
        not refuse it for the token (403).

        Raises:
            BoardAccessError: it does not, or may not; the message names the permission.
        """
        self._client.credential.check({"issues": "write"})
        self._repository.check_visible()
        try:
            self._client.write("POST", f"{self._repository.path}/issues", {"title": ""})
        except RefusedValueError:
            pass
        except AnswerLostError as exc:
            raise BoardUnavailableError(str(exc)) from exc
        except MissingError as exc:
            raise self._repository.invisible(exc) from exc

    def _load(self, _key: str) -> str | None:
        if self._client.credential.is_app:
            return None
        try:
            login = str(self._client.get("user")["login"])
        except (BoardAccessError, MissingError) as exc:
            # The token of an app's installation, or of a workflow, has no user.
            logger.info("Claims assign nobody: %s", exc, extra={"action": "github_assigns_nobody"})
            return None
        try:
            self._client.get(f"{self._repository.path}/assignees/{login}")
        except MissingError:
            logger.warning(
                "Claims assign nobody, because %r cannot be assigned in %s; give the account the "
                "role Triage there, or set assign=False.",
                login,
                self._repository.name,
                extra={"action": "github_assigns_nobody"},
            )
            return None
        return login
