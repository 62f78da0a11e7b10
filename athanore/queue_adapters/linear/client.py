"""The seam to Linear's GraphQL API: its limits, and the translation of what it refuses."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

import httpx

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
)
from athanore.http_client.client import HttpClient, Limited
from athanore.http_client.graphql import GraphQL, Refusal, refusals_in
from athanore.http_client.quotas import in_headers
from athanore.models import Quota
from athanore.queue_adapters.tracker.answers import (
    Json,
    MissingError,
    RefusedValueError,
    number,
    sent_at,
)
from athanore.version import __version__

_LIMIT: Final = "RATELIMITED"
_LONGEST: Final = 3600.0
_JITTER: Final = 2.0
"""Seconds within which those who wait for the same reset ask again, one after another."""

_PASSING: Final = frozenset(
    {"internal error", "lock timeout", "network error", "bootstrap error", "unknown"}
)
"""Kinds of errors after which the same may succeed, and of which a write may be done."""

_SETTINGS: Final = "Settings, Account, Security & access"


class LinearClient:
    """Linear for one key; safe to use from many threads."""

    def __init__(
        self, url: str, token: str, *, timeout: timedelta, retry_delays: Sequence[timedelta]
    ) -> None:
        self.token = token
        self._http = HttpClient(
            "Linear",
            url,
            {
                # A personal key comes by itself, a token of OAuth as a bearer's.
                "Authorization": token if token.startswith("lin_api_") else f"Bearer {token}",
                "User-Agent": f"athanore/{__version__}",
            },
            timeout=timeout,
            retry_delays=retry_delays,
            limited=limit_in,
            quota=_quotas_in,
        )
        self.quotas = self._http.quotas
        self._graphql = GraphQL(self._http, url, _translated)

    def read(self, document: str, **variables: object) -> Json:
        """Send a query.

        Raises:
            MissingError: what it asks for is not there.
        """
        return self._graphql.read(document, variables)

    def nodes(
        self, document: str, variables: Mapping[str, object], *connection: str
    ) -> Iterator[Json]:
        """Send a query for each page of a connection, and give its nodes."""
        return self._graphql.nodes(document, variables, connection)

    def write(self, document: str, **variables: object) -> Json:
        """Send a mutation, and return what it answers.

        Raises:
            AnswerLostError: the answer was lost; it may have been done.
            InvalidTaskError: Linear cannot take a value.
            MissingError: what is to be changed is not there.
        """
        (payload,) = self._graphql.write(document, variables).values()
        if not payload["success"]:
            raise BoardError("Linear did not do what was asked for, and does not say why.")
        return payload

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _quotas_in(response: httpx.Response) -> list[Quota]:
    """What an answer tells of requests and of their complexity; resets are in milliseconds."""
    found: list[Quota] = []
    for name in ("requests", "complexity"):
        prefix = f"x-ratelimit-{name}"
        found += in_headers(response, name, prefix, unit=timedelta(milliseconds=1))
    return found


def limit_in(response: httpx.Response) -> Limited | None:
    """Tell whether an answer is a refusal for too many requests, and how long that lasts.

    It has status 400. Linear counts requests and their complexity; of two limits that are used up
    the later reset counts, which is told in milliseconds since 1970.
    """
    if response.status_code not in (400, 429):
        return None
    if response.status_code == 400 and _LIMIT.encode() not in response.content:
        return None
    if response.status_code == 400 and all(r.code != _LIMIT for r in refusals_in(response)):
        return None
    now = sent_at(response).timestamp()  # by Linear's clock, whatever ours says
    waits = [
        reset / 1000 - now
        for kind in ("requests", "complexity", "endpoint-requests")
        if response.headers.get(f"x-ratelimit-{kind}-remaining") == "0"
        and (reset := number(response.headers.get(f"x-ratelimit-{kind}-reset"))) is not None
    ]
    if not waits:
        return Limited(None)
    left = min(max(*waits, 1.0), _LONGEST) + random.uniform(0, _JITTER)
    return Limited(timedelta(seconds=left))


def _translated(refusal: Refusal) -> BoardError:
    said = refusal.said.rstrip(".")
    if refusal.code == "AUTHENTICATION_ERROR" or refusal.status == 401:
        return BoardAccessError(
            f"Linear refuses the key ({said}); make a new one ({_SETTINGS}), and set "
            "ATHANORE_LINEAR_API_KEY or LINEAR_API_KEY to it."
        )
    if refusal.code == "FORBIDDEN" or refusal.kind in ("forbidden", "feature not accessible"):
        return BoardAccessError(
            f"Linear does not allow this ({said}); give the key the permissions Read and Write for "
            f"the team ({_SETTINGS}), and its user a place in the team."
        )
    if refusal.kind == "usage limit exceeded":
        return BoardAccessError(
            f"The workspace has reached a limit of its plan in Linear ({said}); archive issues, or "
            "change the plan."
        )
    if refusal.code in ("INPUT_ERROR", "INVALID_INPUT", "USER_ERROR"):
        if refusal.message.startswith("Entity not found") or "valid UUID" in refusal.message:
            return MissingError(said)
        return RefusedValueError(f"Linear cannot take this: {said}.", [refusal.code])
    if refusal.kind in _PASSING or refusal.code == "INTERNAL_SERVER_ERROR":
        if refusal.is_write:
            return AnswerLostError(
                f"Linear failed with {said!r}: it may have been done. Look before doing it again."
            )
        return BoardUnavailableError(f"Linear failed with {said!r}. Try again later.")
    return BoardError(f"Linear refused a request with status {refusal.status}: {said}.")
