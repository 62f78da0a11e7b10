"""The seam to GitHub's GraphQL API: its limits, and the translation of its errors."""

from __future__ import annotations

from datetime import timedelta

import httpx

from athanore.errors import BoardAccessError, BoardError, BoardUnavailableError
from athanore.http_client.client import HttpClient, Limited
from athanore.http_client.graphql import GraphQL, Refusal, refusals_in
from athanore.http_client.patience import Patience
from athanore.queue_adapters.github.client import limit_in, quotas_in, told_wait
from athanore.queue_adapters.github.credentials import Credential
from athanore.queue_adapters.tracker.answers import (
    MissingError,
    RefusedValueError,
    number,
    sent_at,
)
from athanore.version import __version__


class GitHubGraphQL(GraphQL):
    """GraphQL for one credential; safe to use from many threads.

    Args:
        address: of GraphQL.
    """

    def __init__(
        self,
        address: str,
        credential: Credential,
        patience: Patience,
    ) -> None:
        self._client = HttpClient(
            "GitHub",
            address,
            {"User-Agent": f"athanore/{__version__}"},
            timeout=patience.timeout,
            retry_delays=patience.retry_delays,
            limited=_limit_in,
            quota=quotas_in,
            auth=credential.auth,
            account=credential.account,
        )
        self.quotas = self._client.quotas
        super().__init__(self._client, address, _translated)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _translated(refusal: Refusal) -> BoardError:
    said = refusal.said.rstrip(".")
    match refusal.code:
        case "NOT_FOUND":
            return MissingError(said)
        case "FORBIDDEN" | "INSUFFICIENT_SCOPES":
            return BoardAccessError(
                f"GitHub does not allow this ({said}); give the token the permissions Issues: "
                "read and write, and of the organization Projects: read and write (a classic "
                "token: the scopes repo and project)."
            )
        case "UNPROCESSABLE" | "VALIDATION":
            return RefusedValueError(f"GitHub cannot take this: {said}.", [refusal.code])
        case _ if refusal.status == 401:
            return BoardAccessError(
                f"GitHub refuses the token ({said}); make a new one, and set "
                "ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN to it."
            )
        case _ if "Something went wrong" in said and not refusal.is_write:
            return BoardUnavailableError(f"GitHub failed: {said}. Try again later.")
        case _:
            return BoardError(f"GitHub refused a request: {said}.")


def _limit_in(response: httpx.Response) -> Limited | None:
    """As `limit_in`; GraphQL tells limits with status 200, a secondary one by its words alone."""
    if response.status_code != 200:
        return limit_in(response)
    if b"errors" not in response.content:
        return None
    refusals = [one for one in refusals_in(response) if not one.is_of_an_element]
    if any("secondary rate limit" in one.message.lower() for one in refusals):
        return Limited(told_wait(response), is_of_host=True)
    if all(one.code != "RATE_LIMITED" for one in refusals):
        return None
    reset = number(response.headers.get("x-ratelimit-reset"))
    if reset is None:
        return Limited(None)
    left = reset - sent_at(response).timestamp()
    return Limited(timedelta(seconds=min(max(left, 1), 3600)))
