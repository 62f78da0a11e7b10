"""The seam to Planka's HTTP API: signing in, and the translation of every status."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, cast
from weakref import finalize

import httpx

from athanore.errors import BoardAccessError, BoardError, ConfigurationError
from athanore.http_client.addresses import without_login
from athanore.http_client.client import HttpClient, Limited, Parameters
from athanore.queue_adapters.tracker import answers
from athanore.queue_adapters.tracker.answers import Json, RefusedValueError
from athanore.version import __version__

_NAME: Final = "Planka 2"
_REPEATABLE: Final = ("GET", "PATCH")
"""Each PATCH of ours sets the same values again."""
_UNCLEAR: Final = (500, 502, 504)
"""Planka may have stored what was sent, and then failed to tell somebody of it (500)."""
_LOGIN_REFUSED: Final = frozenset({400, 401, 403})
_LOGIN: Final = "api/access-tokens"
_SIGN_OUT: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Token:
    """An API key of Planka; it does not expire."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Password:
    """A user who signs in; the session expires and is then renewed."""

    username: str
    password: str = field(repr=False)


class MissingError(answers.MissingError):
    """Planka answered 404: `what` is missing ("Card", "List", ...), or may not be seen or changed.

    For the adapter only, which turns it into the error of what was asked for.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.what = message.split(" ", 1)[0]


class ConflictError(RefusedValueError):
    """Planka answered 409: a label or member is on the card already. For the adapter only."""


class _Session:
    """The session of a user who has signed in; `token` is None while there is none."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.lock = threading.Lock()


class PlankaClient:
    """Planka for one user; safe to use from many threads. Paths are below the server's `/api/`."""

    def __init__(
        self,
        url: str,
        credentials: Token | Password,
        *,
        timeout: timedelta,
        retry_delays: Sequence[timedelta],
    ) -> None:
        self.url = without_login(url)
        self._credentials = credentials
        is_key = isinstance(credentials, Token)
        self.secrets = frozenset({credentials.value if is_key else credentials.password})
        self._http = HttpClient(
            "Planka",
            url,
            {"User-Agent": f"athanore/{__version__}"}
            | ({"X-Api-Key": credentials.value} if is_key else {}),
            timeout=timeout,
            retry_delays=retry_delays,
            limited=_limit_in,
            repeatable=_REPEATABLE,
            unclear=_UNCLEAR,
        )
        self._session = _Session()
        # Each session stays in Planka for a year: it ends with the client, or with the process.
        self._end = finalize(self, _end, self._http, self._session)

    def get(self, path: str, params: Parameters | None = None) -> Json:
        """Read what is at a path.

        Raises:
            BoardAccessError: Planka refuses the credentials (401), or the change (403).
            BoardUnavailableError: Planka did not answer.
            MissingError: it is not there, or the user may not see it (404).
            BoardError: Planka refused for another reason.
        """
        return self._call("GET", path, params=params)

    def get_dated(self, path: str) -> tuple[Json, datetime]:
        """Read what is at a path, and when that was by the server's clock; raises as `get`."""
        response = self._answer("GET", path)
        return self._content(response), answers.sent_at(response)

    def write(self, method: str, path: str, body: Json | None = None) -> Json:
        """Change something; a POST or a DELETE is never repeated once it may have arrived.

        Raises:
            AnswerLostError: the answer was lost; it may have been done.
            BoardUnavailableError: Planka did not answer; nothing was changed.
            InvalidTaskError: Planka cannot take a value (400, 422).
            ConflictError: what is to be added is there already (409).
            BoardError: as of `get`.
        """
        return self._call(method, path, body=body)

    def close(self) -> None:
        """Sign out, and close the connections."""
        self._end()

    def _call(
        self, method: str, path: str, *, params: Parameters | None = None, body: Json | None = None
    ) -> Json:
        return self._content(self._answer(method, path, params=params, body=body))

    def _answer(
        self, method: str, path: str, *, params: Parameters | None = None, body: Json | None = None
    ) -> httpx.Response:
        session = self._sign_in(None)
        response = self._send(method, path, params, body, session)
        if response.status_code == 401 and session is not None:
            response = self._send(method, path, params, body, self._sign_in(session))
        return response

    def _send(
        self,
        method: str,
        path: str,
        params: Parameters | None,
        body: Json | None,
        session: str | None,
    ) -> httpx.Response:
        headers = _bearer(session)
        return self._http.send(method, f"api/{path}", params=params, body=body, headers=headers)

    def _content(self, response: httpx.Response) -> Json:
        answer = answers.content(self._checked(response), _NAME)
        if not isinstance(answer, dict) or not {"item", "items"} & answer.keys():
            raise answers.foreign(response, _NAME)
        return cast("Json", answer)

    def _sign_in(self, expired: str | None) -> str | None:
        """Sign in with the password, unless there is a session other than the `expired` one."""
        if isinstance(self._credentials, Token):
            return None
        with self._session.lock:
            if self._session.token is None or self._session.token == expired:
                body = {
                    "emailOrUsername": self._credentials.username,
                    "password": self._credentials.password,
                    "withHttpOnlyToken": False,
                }
                # It changes nothing on the board, whatever becomes of the answer.
                response = self._http.send("POST", _LOGIN, body=body, reads=True)
                self._session.token = str(self._content(response)["item"])
            return self._session.token

    def _checked(self, response: httpx.Response) -> httpx.Response:
        """Return an answer that is no refusal; a refusal becomes an error of ours."""
        status = response.status_code
        if response.is_success:
            return response
        said = _message(response)
        signs_in = response.request.url.path.endswith("/access-tokens")
        if signs_in and status in _LOGIN_REFUSED:
            raise BoardAccessError(
                f"Planka at {self.url} refuses the user's name and password: {said} Mend them, "
                "accept the terms of use once in the browser, or use an API key (PLANKA_TOKEN)."
            )
        match status:
            case 401:
                raise BoardAccessError(
                    f"Planka at {self.url} refuses the credentials: {said} Make a new API key for "
                    "the user in Planka and set PLANKA_TOKEN."
                )
            case 403:
                raise BoardAccessError(
                    f"The Planka user may not do this: {said} Make the user an editor of the board."
                )
            case 404 if signs_in or not answers.details(response):  # what is missing is told
                raise answers.foreign(response, _NAME)
            case 404:
                raise MissingError(said)
            case 409:
                raise ConflictError(said)
            case 400 | 413 | 422:
                raise RefusedValueError(f"Planka cannot take this value: {said}")
            case _ if response.has_redirect_location:
                target = without_login(str(response.headers["location"]))
                raise ConfigurationError(
                    f"Planka's url={self.url!r} leads on to {target!r}: use that one."
                )
            case _:
                method = response.request.method
                raise BoardError(f"Planka refused {method} with status {status}: {said}")


def _end(http: HttpClient, session: _Session) -> None:
    """Sign out and close a client, which must not keep a process from ending."""
    with suppress(BoardError):  # else the session expires
        if session.token is not None:
            headers = _bearer(session.token)
            http.send("DELETE", f"{_LOGIN}/me", headers=headers, timeout=_SIGN_OUT)
    http.close()


def _bearer(session: str | None) -> dict[str, str]:
    return {} if session is None else {"Authorization": f"Bearer {session}"}


def _limit_in(response: httpx.Response) -> Limited | None:
    """Planka has no rate limit, but a proxy before it may have one."""
    if response.status_code != 429:
        return None
    seconds = answers.number(response.headers.get("retry-after"))
    return Limited(None if seconds is None else timedelta(seconds=max(seconds, 1)))


def _message(response: httpx.Response) -> str:
    """What Planka says about an error, with the problems it found; its body may be anything."""
    answer = answers.details(response)
    if not answer:
        return f"{response.reason_phrase or 'no reason was given'}."
    found = cast("list[Any]", answer.get("problems") or [])
    problems = " ".join(" ".join(str(problem).split()) for problem in found)
    return f"{str(answer.get('message') or 'no reason was given').rstrip('.')}. {problems}".strip()
