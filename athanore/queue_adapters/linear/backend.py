"""What a user writes: `LinearBoard("ENG")`, a team whose workflow states are queues."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from athanore.errors import ConfigurationError

if TYPE_CHECKING:
    from athanore.queue_adapters.linear.adapter import LinearAdapter

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class LinearBoard:
    """The issues of a team; an issue's queue is its workflow state (`Todo`, `In Progress`).

    Makes the adapter when the dispatcher runs.

    Attributes:
        team: the team's key, which stands before the numbers of its issues: `ENG` of `ENG-12`.
        token: a key of the user whom the agents act as (`lin_api_...`), or an OAuth token; by
            default that in ATHANORE_LINEAR_API_KEY or LINEAR_API_KEY (the environment, or `.env`)
            when `create_adapter` is called.
        url: the address of the API.
        assign: whether a claim assigns an issue that nobody has to the key's user.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a read that failed in passing.
    """

    team: str
    token: str | None = field(default=None, repr=False)
    url: str = "https://api.linear.app/graphql"
    assign: bool = True
    timeout: timedelta = timedelta(seconds=20)
    retry_delays: Sequence[timedelta] = (timedelta(seconds=0.5), timedelta(seconds=2))

    def create_adapter(self) -> LinearAdapter:
        """Make the adapter; no request is sent yet.

        Raises:
            ConfigurationError: the team's key, the address or the token make no sense.
        """
        from athanore.http_client.addresses import read_address
        from athanore.queue_adapters.linear.account import key_of_the_environment
        from athanore.queue_adapters.linear.adapter import LinearAdapter
        from athanore.queue_adapters.linear.client import LinearClient
        from athanore.queue_adapters.tracker.tokens import checked

        team = self.team.strip()
        if not _KEY.fullmatch(team):
            raise ConfigurationError(
                f"LinearBoard: team={self.team!r} is no key of a team; write what stands before "
                'the numbers of its issues, such as "ENG" for ENG-12.'
            )
        url = read_address(self.url, "LinearBoard: url", "https://api.linear.app/graphql")
        token = self.token or key_of_the_environment()
        if token is None:
            raise ConfigurationError(
                f"The board on Linear's team {team} needs a key; make one (Settings, Account, "
                "Security & access, with the permissions Read and Write), and set "
                "ATHANORE_LINEAR_API_KEY or LINEAR_API_KEY to it, in the environment or in .env."
            )
        client = LinearClient(
            url,
            checked(token, f"Linear's team {team}"),
            timeout=self.timeout,
            retry_delays=self.retry_delays,
        )
        return LinearAdapter(client, team, assigns=self.assign)
