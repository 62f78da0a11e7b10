"""Planka 2 as a task board: the lists of its boards are the queues, their cards the tasks.

    AgentDispatcher(queue_backend=PlankaBackend(url="https://planka.example.com"))

A queue is called `Project.Board.List`. The user must be an editor of the board, even an admin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import SecretStr

from athanore.errors import ConfigurationError
from athanore.http_client.addresses import read_address, without_login
from athanore.queue_adapters.planka.adapter import SECRET_ENV, PlankaAdapter
from athanore.queue_adapters.planka.client import Password, PlankaClient, Token
from athanore.queue_adapters.tracker.tokens import TokenVariables, checked, first_set

__all__ = ["SECRET_ENV", "PlankaAdapter", "PlankaBackend"]


@dataclass(frozen=True, slots=True)
class PlankaBackend:
    """Where a Planka server is and who uses it; makes the adapter when the dispatcher runs.

    Credentials that are not given come from PLANKA_TOKEN, or PLANKA_USER and PLANKA_PASSWORD, in
    the environment or in `.env`, when `create_adapter` is called.

    Attributes:
        url: the server's address, http:// or https://.
        token: an API key of the user, made in Planka; it does not expire.
        username: user name or e-mail address, instead of a token.
        password: the password of `username`.
        boards: use only these boards (`Project.Board`, or ids); all of the user's by default.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a request that failed in passing.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    boards: Sequence[str] | None = None
    timeout: timedelta = timedelta(seconds=20)
    retry_delays: Sequence[timedelta] = (timedelta(seconds=0.3), timedelta(seconds=1))

    def create_adapter(self) -> PlankaAdapter:
        """Make the adapter; no request is sent yet.

        Raises:
            ConfigurationError: the address or the credentials are missing or make no sense.
        """
        address = read_address(self.url, "PlankaBackend: url", "https://planka.example.com")
        client = PlankaClient(
            address,
            self._credentials(),
            timeout=self.timeout,
            retry_delays=self.retry_delays,
        )
        return PlankaAdapter(client, boards=self.boards)

    def _credentials(self) -> Token | Password:
        if self.token and self.username:
            raise ConfigurationError("PlankaBackend: give a token or a username, not both.")
        found = _Variables()
        token = self.token or (None if self.username else first_set([found.planka_token]))
        if token:
            return Token(checked(token, f"Planka at {without_login(self.url)} (PLANKA_TOKEN)"))
        username = self.username or first_set([found.planka_user])
        password = self.password or first_set([found.planka_password])
        if username and password:
            return Password(username, password)
        missing = "its password (PLANKA_PASSWORD)" if username else "credentials"
        raise ConfigurationError(
            f"Planka at {without_login(self.url)} needs {missing}. Set PLANKA_TOKEN to an API "
            "key of the user, or PLANKA_USER and PLANKA_PASSWORD, or give them to PlankaBackend."
        )


class _Variables(TokenVariables):
    planka_token: SecretStr | None = None
    planka_user: SecretStr | None = None
    planka_password: SecretStr | None = None
