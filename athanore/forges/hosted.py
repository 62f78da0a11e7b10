"""What forges on a server have in common: an address, a token, and texts of pull requests."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from athanore.errors import BoardError, PublishError
from athanore.forges.texts import PullRequestText, Texts
from athanore.http_client.addresses import read_address


class HostedForge[C](ABC):
    """One repository on a server, whose client is made when it is first needed.

    Args:
        repository: what the server calls the repository.
        kind: the class as users write it, for messages.
    """

    SERVER: ClassVar[str]
    """What the server is called in messages."""

    USER: ClassVar[str]
    """The user of a push with a token."""

    VARIABLES: ClassVar[Sequence[str]]
    """The environment's variables with a token; the first is Athanore's own."""

    def __init__(
        self,
        repository: str,
        *,
        kind: str,
        example: str,
        token: str | None,
        url: str,
        remote: str | Path | None,
        draft: bool,
        title: PullRequestText,
        body: PullRequestText,
        timeout: timedelta,
        retry_delays: Sequence[timedelta],
    ) -> None:
        self.repository = repository
        self.url = read_address(url, f"{kind}: url", example)
        self.draft = draft
        # Under their own names, so that they count for the app's version.
        self.title, self.body = title, body
        self._texts = Texts(title, body)
        self._token = token
        self._remote = remote
        self._timeout = timeout
        self._retry_delays = retry_delays
        self._made: C | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def _of_the_environment(self) -> str | None:
        """The token that is set."""

    @abstractmethod
    def _client_with(self, token: str) -> C:
        """Make a client."""

    @property
    @abstractmethod
    def _rights(self) -> str:
        """What a token must be allowed, for messages."""

    @property
    def remote(self) -> str:
        """Where branches are pushed to; see `Forge.remote`."""
        return f"{self.url}/{self.repository}.git" if self._remote is None else str(self._remote)

    @property
    def login(self) -> str:
        """The token, for a push by https to the server itself; see `Forge.login`."""
        token = self._found()
        return f"{self.USER}:{token}" if token and self._remote is None else ""

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the token; see `Forge.secret_env`."""
        token = self._found()
        same = {n for n in self.VARIABLES if token and os.environ.get(n, "").strip() == token}
        return frozenset({self.VARIABLES[0], *same})

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
            f"no token for {self.repository} on {self.SERVER}; make one {self._rights}, and set "
            f"{self.VARIABLES[0]} or {self.VARIABLES[1]} to it"
        )

    def _found(self) -> str | None:
        given = self._token or self._of_the_environment()
        return given.strip() if given and given.strip() else None

    @contextmanager
    def _asking(self, *passed: type[BoardError]) -> Generator[C]:
        """The client, whose errors become ours, but for those that the caller looks at."""
        try:
            yield self._client()
        except BoardError as exc:
            if isinstance(exc, passed):
                raise
            raise PublishError(f"{self.repository} on {self.SERVER}: {exc}") from exc
        except (KeyError, TypeError, ValueError) as exc:
            raise PublishError(f"A pull request of {self.SERVER} cannot be read: {exc!r}.") from exc

    def _client(self) -> C:
        with self._lock:
            if self._made is None:
                if (missing := self.check()) is not None:
                    raise PublishError(f"There is {missing}.")
                self._made = self._client_with(self._found() or "")
            return self._made
