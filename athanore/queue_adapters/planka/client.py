"""The seam to Planka's HTTP API: one client, its retries, and the translation of every error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast
from weakref import finalize

import httpx

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    ConfigurationError,
    InvalidTaskError,
    NotFoundError,
)
from athanore.errors import reason as said_by
from athanore.http_client.addresses import without_login
from athanore.http_client.certificates import refused_certificate
from athanore.http_client.proxies import by_way_of, proxy_for
from athanore.http_client.retries import MAYBE_DONE, NOT_SENT, RetryingTransport, may_be_done

try:
    from plankapy.v2.api import PlankaEndpoints
except ImportError as exc:
    raise ImportError(
        "The Planka adapter needs plankapy 2.3 or newer. Beside your clone of Athanore: "
        'pip install "./athanore[planka]"'
    ) from exc

type Json = dict[str, Any]

_REPEATABLE: Final = ("GET", "PATCH")
"""Each PATCH of ours sets the same values again."""
_LOGIN_REFUSED: Final = frozenset({400, 401, 403})
_SIGN_OUT_SECONDS: Final = 2

# Node closes idle connections after 5 s; a POST on one that is closing could not be repeated.
_LIMITS: Final = httpx.Limits(keepalive_expiry=2)


@dataclass(frozen=True, slots=True)
class Token:
    """An API key of Planka; it does not expire."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Password:
    """A user who signs in; the session expires and is then renewed."""

    username: str
    password: str = field(repr=False)


class MissingError(NotFoundError):
    """Planka answered 404: `what` is missing ("Card", "List", ...), or may not be seen or changed.

    For the adapter only, which turns it into the error of what was asked for.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.what = message.split(" ", 1)[0]


class ConflictError(BoardError):
    """Planka answered 409: a label or member is on the card already. For the adapter only."""


class NotPlankaError(BoardUnavailableError):
    """Something answered, but not with JSON: a proxy's page, or no Planka at all."""


class PlankaClient:
    """One shared HTTP client for one user of one Planka server; safe to use from many threads.

    `api` holds plankapy's calls, of one request each; make them through `call`.
    """

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
        self.secrets = frozenset(
            {credentials.value} if isinstance(credentials, Token) else {credentials.password}
        )
        self._lock = threading.Lock()
        self._session: str | None = None
        self._http = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(timeout.total_seconds(), connect=5),
            transport=RetryingTransport(
                httpx.HTTPTransport(limits=_LIMITS, proxy=proxy_for(url)), retry_delays, _REPEATABLE
            ),
        )
        if isinstance(credentials, Token):
            self._http.headers["X-Api-Key"] = credentials.value
        self.api = PlankaEndpoints(self._http)
        # Each session stays in Planka for a year: it ends with the client, or with the process.
        self._end = finalize(self, _end, self._http)

    def call[**P](self, endpoint: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Json:
        """Make one of `api`'s calls, signed in, and return its JSON.

        Raises:
            BoardAccessError: Planka refuses the credentials (401), or the change (403).
            BoardUnavailableError: Planka did not answer; nothing was changed.
            AnswerLostError: the answer to a write was lost; it may have been done.
            BoardError: Planka refused for another reason.
            InvalidTaskError: Planka cannot take a value (400, 422).
            MissingError, ConflictError: 404 and 409.
        """
        with _translated(self.url):
            session = self._sign_in(None)
            try:
                answer = endpoint(*args, **kwargs)
            except httpx.HTTPStatusError as exc:
                if exc.response.status_code != 401 or session is None:
                    raise
                self._sign_in(session)
                answer = endpoint(*args, **kwargs)
        if not isinstance(answer, dict) or not {"item", "items"} & answer.keys():
            raise NotPlankaError(_not_planka(self.url))
        return cast("Json", answer)

    def close(self) -> None:
        """Sign out, and close the connections."""
        self._end()

    def _sign_in(self, expired: str | None) -> str | None:
        """Sign in with the password, unless there is a session other than the `expired` one."""
        if isinstance(self._credentials, Token):
            return None
        with self._lock:
            if self._session is None or self._session == expired:
                # Not plankapy's login(): it prints the terms, and hides why a login failed.
                answer = self.api.createAccessToken(
                    emailOrUsername=self._credentials.username,
                    password=self._credentials.password,
                    withHttpOnlyToken=False,
                )
                self._session = answer["item"]
                self._http.headers["Authorization"] = f"Bearer {self._session}"
            return self._session


def _end(http: httpx.Client) -> None:
    """End a client, which must not keep a process from ending."""
    try:
        if "Authorization" in http.headers:
            http.delete("api/access-tokens/me", timeout=_SIGN_OUT_SECONDS)
    except httpx.HTTPError:
        pass  # the session expires
    finally:
        http.close()


@contextmanager
def _translated(url: str) -> Generator[None]:
    """The one place where errors of httpx and plankapy become Athanore's."""
    try:
        yield
    except httpx.HTTPStatusError as exc:
        raise _from_status(url, exc.response) from exc
    except httpx.TransportError as exc:
        if (refused := refused_certificate(exc)) is not None:
            raise BoardUnavailableError(
                f"The certificate of the server at {url}{by_way_of(url)} is refused: {refused}. "
                "Set SSL_CERT_FILE to a file with the certificate of its authority."
            ) from exc
        reason = said_by(exc)
        if may_be_done(exc.request, not isinstance(exc, NOT_SENT)):
            raise _lost(exc.request, reason) from exc
        raise BoardUnavailableError(
            f"Planka at {url}{by_way_of(url)} did not answer ({reason}). Check that the server "
            "runs and that the address is right."
        ) from exc
    except (httpx.DecodingError, ValueError, KeyError) as exc:  # no JSON, or not Planka's
        raise NotPlankaError(_not_planka(url)) from exc


def _from_status(url: str, response: httpx.Response) -> Exception:
    status, request = response.status_code, response.request
    said = _message(response)
    signs_in = request.url.path.endswith("/access-tokens")
    if signs_in and status in _LOGIN_REFUSED:
        return BoardAccessError(
            f"Planka at {url} refuses the user's name and password: {said} Mend them, accept the "
            "terms of use once in the browser, or use an API key (PLANKA_TOKEN)."
        )
    match status:
        case 401:
            return BoardAccessError(
                f"Planka at {url} refuses the credentials: {said} Make a new API key for the user "
                "in Planka and set PLANKA_TOKEN."
            )
        case 403:
            return BoardAccessError(
                f"The Planka user may not do this: {said} Make the user an editor of the board."
            )
        case 404 if signs_in or not isinstance(_json(response), dict):  # what is missing is told
            return NotPlankaError(_not_planka(url))
        case 404:
            return MissingError(said)
        case 409:
            return ConflictError(said)
        case 400 | 413 | 422:
            return InvalidTaskError(f"Planka cannot take this value: {said}")
        case _ if status >= 500 and may_be_done(request, status in MAYBE_DONE):
            return _lost(request, f"status {status}")
        case _ if status == 429 or status >= 500:
            return BoardUnavailableError(f"Planka at {url} has trouble (status {status}): {said}")
        case _ if response.has_redirect_location:
            target = without_login(str(response.headers["location"]))
            return ConfigurationError(f"Planka's url={url!r} leads on to {target!r}: use that one.")
        case _:
            return BoardError(f"Planka refused {request.method} with status {status}: {said}")


def _message(response: httpx.Response) -> str:
    """What Planka says about an error, with the problems it found; its body may be anything."""
    body = _json(response)
    if not isinstance(body, dict):
        return f"{response.reason_phrase or 'no reason was given'}."
    answer = cast("Json", body)
    found = cast("list[object]", answer.get("problems") or [])
    problems = " ".join(" ".join(str(problem).split()) for problem in found)
    return f"{str(answer.get('message') or 'no reason was given').rstrip('.')}. {problems}".strip()


def _json(response: httpx.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return None


def _lost(request: httpx.Request, reason: str) -> BoardError:
    """Not "unavailable": that would promise that nothing was changed, and be tried again."""
    return AnswerLostError(
        f"Planka's answer to {request.method} {request.url.path} was lost ({reason}): it may have "
        "been done. Look at the card before doing it again."
    )


def _not_planka(url: str) -> str:
    return f"What answers at {url} does not answer like Planka 2; check the address."
