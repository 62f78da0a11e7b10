"""What requests are made with: a person's token, or the tokens of an app's installation."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Final, Protocol, override

import httpx
from pydantic import SecretStr

from athanore.errors import ConfigurationError
from athanore.queue_adapters.tracker.tokens import (
    TokenVariables,
    checked,
    first_set,
    variables_with,
)

OWN_VARIABLE: Final = "ATHANORE_GITHUB_TOKEN"
"""The board's token, for people whose agents have another one in GITHUB_TOKEN."""

COMMON_VARIABLES: Final = ("GITHUB_TOKEN", "GH_TOKEN")


class Credential(Protocol):
    """One account of GitHub; thread-safe."""

    @property
    def auth(self) -> httpx.Auth:
        """Puts itself on requests."""
        ...

    @property
    def account(self) -> str:
        """Whose requests GitHub counts together. It is a secret."""
        ...

    @property
    def is_app(self) -> bool:
        """Whether it is an app's, which is no user, and cannot be assigned."""
        ...

    @property
    def secrets(self) -> frozenset[str]:
        """What must show up nowhere."""
        ...

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that agents must not inherit."""
        ...

    def token(self) -> str:
        """A token that is valid now, for a push."""
        ...

    def check(self, wanted: Mapping[str, str]) -> None:
        """Make sure that it has permissions, as far as that can be told beforehand.

        Args:
            wanted: `read` or `write`, by the names of permissions in GitHub's API.

        Raises:
            BoardAccessError: it lacks some; the message names them.
        """
        ...

    def close(self) -> None:
        """Close the connections that it has."""
        ...


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class PersonalToken:
    """A token that somebody has made, for an account of GitHub."""

    is_app = False

    def __init__(self, token: str) -> None:
        self._token = token
        self.auth: httpx.Auth = _Bearer(token)

    @property
    def account(self) -> str:
        """The token, for whose owner GitHub counts."""
        return self._token

    @property
    def secrets(self) -> frozenset[str]:
        """The token."""
        return frozenset({self._token})

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the token; another token is the agents' own."""
        return variables_with(self._token, COMMON_VARIABLES) | {OWN_VARIABLE}

    def token(self) -> str:
        """The token."""
        return self._token

    def check(self, wanted: Mapping[str, str]) -> None:
        """Nothing: what a token may do shows when it is used."""

    def close(self) -> None:
        """Nothing: it has no connections."""


class _Variables(TokenVariables):
    athanore_github_token: SecretStr | None = None
    github_token: SecretStr | None = None


def own_token() -> str | None:
    """The board's own token, if one is set."""
    return first_set([_Variables().athanore_github_token])


def common_token() -> str | None:
    """The token that is set for any program."""
    return first_set([_Variables().github_token])


def personal(given: str | None, what: str) -> PersonalToken:
    """A token as a credential.

    Args:
        given: the token; None if there is none.
        what: the board that needs it, for messages.

    Raises:
        ConfigurationError: there is none, or it cannot be one.
    """
    if given is None:
        raise ConfigurationError(
            f"The board on {what} needs a token; make one that may read and write the issues of "
            "the repository (see docs/boards.md), and set ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN "
            "to it, in the environment or in .env."
        )
    return PersonalToken(checked(given, what))
