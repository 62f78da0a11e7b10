"""Whose token it is, and what that account may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import SecretStr

from athanore.errors import AnswerLostError, BoardAccessError, BoardUnavailableError
from athanore.http_client.cache import Cache
from athanore.queue_adapters.gitlab.client import GitLabClient
from athanore.queue_adapters.gitlab.project import PLANNER, Project
from athanore.queue_adapters.tracker.answers import MissingError, RefusedValueError, mapping
from athanore.queue_adapters.tracker.tokens import TokenVariables, first_set, variables_with

OWN_VARIABLE: Final = "ATHANORE_GITLAB_TOKEN"
"""The board's token, for people whose agents have another one in GITLAB_TOKEN."""

COMMON_VARIABLES: Final = ("GITLAB_TOKEN", "GITLAB_PRIVATE_TOKEN", "GITLAB_ACCESS_TOKEN")


class _Variables(TokenVariables):
    athanore_gitlab_token: SecretStr | None = None
    gitlab_token: SecretStr | None = None


def token_of_the_environment() -> str | None:
    """The token that is set; the board's own first."""
    found = _Variables()
    return first_set((found.athanore_gitlab_token, found.gitlab_token))


@dataclass(frozen=True, slots=True)
class Me:
    """The account of a token."""

    number: int
    name: str


class Account:
    """The account of a token, read when it is first needed."""

    def __init__(self, client: GitLabClient, project: Project, *, assigns: bool) -> None:
        self._client = client
        self._project = project
        self._assigns = assigns
        self._me = Cache(self._load, timedelta(days=365))

    @property
    def me(self) -> Me:
        """Whose token it is."""
        return self._me.get("me")

    @property
    def assignee(self) -> str | None:
        """Whom a claim assigns; None where nobody is to be."""
        return self.me.name if self._assigns else None

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the token."""
        return variables_with(self._client.token, COMMON_VARIABLES) | {OWN_VARIABLE}

    def check(self) -> None:
        """Make sure that the token's account sees the project, and may change its issues.

        The write that is tried has an empty title: GitLab refuses it for that (400) where it does
        not refuse it for the token's scope, or the account's role (403).

        Raises:
            BoardAccessError: it does not, or may not; the message names the scope, or the role.
        """
        row = self._project.row()
        if row.get("issues_enabled") is False or row.get("issues_access_level") == "disabled":
            raise BoardAccessError(
                f"The project {self._project.name!r} has no issues: they are switched off in its "
                "settings (General, Visibility, Issues)."
            )
        role = _role(row)
        if role is not None and role < PLANNER:
            raise BoardAccessError(
                f"The token's account has the role Guest in {self._project.name!r}, which may not "
                "label issues; give it the role Planner, Reporter or higher."
            )
        try:
            self._client.write("POST", f"{self._project.path}/issues", {"title": ""})
        except RefusedValueError:
            pass
        except AnswerLostError as exc:
            raise BoardUnavailableError(str(exc)) from exc
        except MissingError as exc:
            raise self._project.invisible(exc) from exc

    def _load(self, _key: str) -> Me:
        row = self._client.get("user")
        return Me(int(row["id"]), str(row["username"]))


def _role(project: dict[str, object]) -> int | None:
    """The highest role that the account has, by GitLab's number; None where none is told."""
    told = mapping(project.get("permissions"))
    roles = [mapping(told.get(where)).get("access_level") for where in told]
    return max((role for role in roles if isinstance(role, int)), default=None)
