"""Asking the app that runs on this machine, instead of importing it and asking Prefect.

That takes a tenth of the time. Where no such app is found, what is read is not answered as
expected, or an order is refused before anything was written, the command does everything itself,
which comes to the same. An order that may have been carried out is not given a second time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from athanore.cli.context import app_name
from athanore.errors import (
    AnswerLostError,
    BoardUnavailableError,
    ConfigurationError,
    DispatchError,
    InvalidTaskError,
    NotFoundError,
)
from athanore.launch.serving import Serving, find_serving
from athanore.services.showing.views import read_view

_PATIENCE = 30.0
_OK, _DONE = 200, (200, 201, 202)
_NOT_FOUND, _TOO_LARGE = 404, 413
_SERVER_ERROR, _NOT_SUPPORTED, _UNAVAILABLE = 500, 501, 503
_ANSWER_LOST = "urn:athanore:problem:answer-lost"
_NO_PREFECT = "urn:athanore:problem:prefect-unavailable"

type Value = str | int | datetime | list[str] | None


@dataclass(frozen=True, slots=True)
class AtWork:
    """The task API of an app that runs."""

    host: str
    port: int
    key: str

    def ask[T](self, kind: type[T], path: str, **query: Value) -> T | None:
        """Read something; None if it is not answered as expected.

        Args:
            kind: one of the classes of `athanore.services.showing.views`, or a tuple of them.
            query: what is None is not sent.

        Raises:
            NotFoundError: there is no such task or route.
        """
        said = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in query.items()}
        said = {k: v for k, v in said.items() if v is not None}
        if said:
            path += "?" + urlencode(said, doseq=True)
        try:
            found = self._exchange("GET", path, None)
            if found is None:
                return None
            status, answer = found
            if status == _NOT_FOUND:
                raise NotFoundError(str(answer["detail"]))
            return read_view(kind, answer) if status in _DONE else None
        except (_NoAnswerError, LookupError, TypeError, ValueError):
            return None

    def order(
        self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST"
    ) -> Mapping[str, Any] | None:
        """Have something done; returns the answer.

        None if nothing was done for certain: nobody is there, or it was refused for what it is.

        Raises:
            NotFoundError: there is no such task or route.
            AnswerLostError: it may have been done.
            BoardUnavailableError, DispatchError: the board, or Prefect, did not do its part.
            InvalidTaskError: a text is too long for the app.
        """
        where = f"The app at {self.host}:{self.port}"
        try:
            found = self._exchange(method, path, json.dumps(body or {}))
        except _NoAnswerError as exc:
            raise AnswerLostError(f"{where} did not answer; look whether it was done.") from exc
        if found is None:
            return None
        status, answer = found
        if status in _DONE:
            return answer
        kind, detail = str(answer.get("type")), str(answer.get("detail"))
        if status == _NOT_FOUND:
            raise NotFoundError(detail)
        if status == _TOO_LARGE:
            raise InvalidTaskError(detail)
        if kind == _ANSWER_LOST:
            raise AnswerLostError(detail)
        if status == _UNAVAILABLE:
            raise (DispatchError if kind == _NO_PREFECT else BoardUnavailableError)(detail)
        if status >= _SERVER_ERROR and status != _NOT_SUPPORTED:
            raise AnswerLostError(
                f"{where} failed, as its log says; look whether it was done before you repeat it."
            )
        return None

    def events(self, path: str) -> Iterator[dict[str, Any]] | None:
        """Read a stream of events until it ends; None if it is not answered as expected."""
        headers = {"Accept": "text/event-stream"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection = HTTPConnection(self.host, self.port, timeout=_PATIENCE)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
        except (OSError, HTTPException):
            connection.close()
            return None
        if response.status != _OK:
            connection.close()
            return None
        return _events(connection, response)

    def refused(self, path: str) -> tuple[int, Any]:
        """Have something done by POST that may be refused; returns the status and the answer.

        Raises:
            AnswerLostError: it may have been done.
        """
        try:
            return self._exchange("POST", path, "{}") or (0, {})
        except _NoAnswerError as exc:
            raise AnswerLostError(
                f"The app at {self.host}:{self.port} did not answer; look at its log."
            ) from exc

    def _exchange(self, method: str, path: str, body: str | None) -> tuple[int, Any] | None:
        """The status and the JSON of an answer; None if there is nobody.

        Raises:
            _NoAnswerError: the request was sent, and no answer came.
        """
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection = HTTPConnection(self.host, self.port, timeout=_PATIENCE)
        try:
            connection.connect()
        except OSError:
            return None
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer: Any = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as exc:
            raise _NoAnswerError from exc
        finally:
            connection.close()
        return response.status, answer


def _events(connection: HTTPConnection, response: HTTPResponse) -> Iterator[dict[str, Any]]:
    with closing(connection), suppress(OSError, HTTPException, ValueError):
        for line in response:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


class _NoAnswerError(Exception):
    """A request was sent, and its answer did not come."""


def find_at_work(reference: str | None) -> AtWork | None:
    """Find the task API of the app that is meant; None if it does not run here, as it is now.

    Raises:
        ConfigurationError: no app is named, see `app_name`; or the key cannot be read.
    """
    return at_work(find_serving(app_name(reference)))


def at_work(found: Serving | None) -> AtWork | None:
    """The task API of an app that was found; None if there is none, or a key for it is missing."""
    if found is None:
        return None
    key = _key() if found.needs_token else ""
    if found.needs_token and not key:
        return None
    where = urlsplit(found.url)
    return AtWork(where.hostname or "127.0.0.1", where.port or 80, key)


def from_app[T](reference: str | None, kind: type[T], path: str, **query: Value) -> T | None:
    """Read something from the app that is meant, if it runs here; see `AtWork.ask`."""
    found = find_at_work(reference)
    return None if found is None else found.ask(kind, path, **query)


def order(
    reference: str | None, path: str, body: Mapping[str, Any] | None = None, method: str = "POST"
) -> Mapping[str, Any] | None:
    """Have the app that is meant do something, if it runs here; see `AtWork.order`."""
    found = find_at_work(reference)
    return None if found is None else found.order(path, body, method)


def in_path(name: str) -> str:
    """A name or an id as a part of a path."""
    return quote(name, safe="")


def _key() -> str:
    """The operators' key, as the settings have it.

    Raises:
        ConfigurationError: one of the settings is wrong.
    """
    if key := os.environ.get("ATHANORE_API_KEY", "").strip():
        return key
    from pydantic import ValidationError

    from athanore.settings import Settings, explain

    try:
        key = Settings().api_key  # pyright: ignore[reportCallIssue]
    except ValidationError as exc:
        raise ConfigurationError(explain(exc, {})) from None
    return "" if key is None else key.get_secret_value()
