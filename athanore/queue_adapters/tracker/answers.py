"""Answers of a tracker: their errors, and reading what a proxy may have put in their place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import httpx

from athanore.errors import BoardUnavailableError, InvalidTaskError, NotFoundError
from athanore.http_client.dates import header_date
from athanore.texts import is_finite

logger = logging.getLogger(__name__)

type Json = dict[str, Any]


class MissingError(NotFoundError):
    """What is asked for is not there, or cannot be seen, or is elsewhere now (`place`).

    Trackers say the same of what is not there and of what the account may not see. For adapters
    only, which turn it into the error of what was asked for.
    """

    def __init__(self, message: str, place: str | None = None) -> None:
        super().__init__(message)
        self.place = place


class ForeignAnswerError(BoardUnavailableError):
    """Something answered, but not like the tracker: a proxy's page, or another server."""


class RefusedValueError(InvalidTaskError):
    """The tracker cannot take a value; `codes` are its words, or its fields, for what is wrong."""

    def __init__(self, message: str, codes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.codes = frozenset(codes)


def content(response: httpx.Response, server: str) -> Any:
    """The JSON of an answer; None where it has no content.

    Raises:
        ForeignAnswerError: it is none, so that something else has answered.
    """
    if response.status_code == 204:
        return None
    try:
        return response.json()
    except ValueError as exc:
        raise foreign(response, server) from exc


def foreign(response: httpx.Response, server: str) -> ForeignAnswerError:
    """The error of an answer that a server does not give."""
    return ForeignAnswerError(
        f"What answers at {response.request.url.host} does not answer like {server}; check the "
        "address, and the proxy on the way."
    )


def rows(response: httpx.Response, server: str) -> list[Json]:
    """The JSON of an answer that must be a list.

    Raises:
        BoardUnavailableError: it is none.
    """
    found = content(response, server)
    if not isinstance(found, list):
        raise BoardUnavailableError(
            f"What answers at {response.request.url.host} gives no list of {server}; check the "
            "address, and the proxy on the way."
        )
    return cast("list[Json]", found)


def details(response: httpx.Response) -> Json:
    """The JSON object of a refusal; empty where it has none."""
    try:
        return mapping(response.json())
    except ValueError:
        return {}


def pass_over(tracker: str, row: object, error: Exception) -> None:
    """Log that an issue in a list cannot be read; the board goes on without it."""
    logger.error(
        "An issue of %s cannot be read, and is passed over: %r in %.200r",
        tracker,
        error,
        row,
        extra={"action": "issue_unreadable"},
    )


def mapping(value: object) -> Json:
    """A JSON value if it is an object; an empty one if not."""
    return cast("Json", value) if isinstance(value, dict) else {}


def number(text: str | None) -> float | None:
    """The number in a header; None if there is none that can be counted with."""
    try:
        found = None if text is None else float(text)
    except ValueError:
        return None
    return found if found is not None and is_finite(found) else None


def sent_at(response: httpx.Response) -> datetime:
    """When an answer was made, by the tracker's clock."""
    return header_date(response.headers.get("date")) or datetime.now(UTC)
