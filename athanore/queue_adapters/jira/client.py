"""The seam to Jira's REST API: its limits, and the translation of every status."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx

from athanore.errors import BoardAccessError, BoardError
from athanore.http_client.client import HttpClient, Limited, Parameters
from athanore.models import Quota
from athanore.queue_adapters.tracker import answers
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError
from athanore.version import __version__


class JiraClient:
    """Jira for one token; safe to use from many threads."""

    def __init__(
        self,
        site: str,
        token: str,
        email: str | None,
        *,
        timeout: timedelta,
        retry_delays: Sequence[timedelta],
    ) -> None:
        self.token = token
        basic = base64.b64encode(f"{email}:{token}".encode()).decode()
        self._http = HttpClient(
            "Jira",
            f"{site}/rest/",
            {
                "Accept": "application/json",
                "Authorization": f"Basic {basic}" if email else f"Bearer {token}",
                "User-Agent": f"athanore/{__version__}",
            },
            timeout=timeout,
            retry_delays=retry_delays,
            limited=limit_in,
            quota=quotas_in,
        )
        self.quotas = self._http.quotas

    def get(self, path: str, params: Parameters | None = None) -> Any:
        """Read what is at a path.

        Raises:
            BoardAccessError: Jira refuses the token, or lets it not see this.
            BoardUnavailableError: Jira did not answer.
            MissingError: it is not there, or the account may not see it.
        """
        return answers.content(_checked(self._http.send("GET", path, params=params)), "Jira")

    def ask(self, path: str, body: Json) -> Any:
        """Read by a POST, which changes nothing."""
        return answers.content(
            _checked(self._http.send("POST", path, body=body, reads=True)), "Jira"
        )

    def write(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Change something, in one request that is never repeated once it may have arrived.

        Raises:
            AnswerLostError: the answer was lost; it may have been done.
            InvalidTaskError: Jira cannot take a value.
        """
        response = _checked(self._http.send(method, path, body=body))
        said = answers.content(response, "Jira") if response.content else None
        return response.status_code, said

    def now(self) -> datetime:
        """What time it is by Jira's clock."""
        return self._http.now()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def quotas_in(response: httpx.Response) -> Sequence[Quota]:
    """What an answer of Jira Data Center tells of the account's bucket, if there is a limit.

    The bucket is filled all the time, and is full again at the reset. Jira Cloud has no quota for
    API tokens: it refuses bursts, and tells nothing before.
    """
    parts = ("limit", "remaining", "fillrate", "interval-seconds")
    numbers = [answers.number(response.headers.get(f"x-ratelimit-{part}")) for part in parts]
    limit, remaining, filled, seconds = (number or 0 for number in numbers)
    if None in numbers or min(limit, filled, seconds) <= 0:
        return ()
    try:
        full = timedelta(seconds=max(limit - remaining, 1) / filled * seconds)
        return (Quota("requests", int(limit), int(remaining), datetime.now(UTC) + full),)
    except OverflowError:
        return ()


def limit_in(response: httpx.Response) -> Limited | None:
    """Tell whether an answer is a refusal because of a rate limit, and how long that lasts."""
    if response.status_code != 429:
        return None
    headers = response.headers
    if (seconds := answers.number(headers.get("retry-after"))) is not None:
        return Limited(timedelta(seconds=max(seconds, 1)))
    try:
        left = datetime.fromisoformat(headers["x-ratelimit-reset"]) - datetime.now(UTC)
    except (KeyError, ValueError, TypeError):
        return Limited(None)
    return Limited(min(max(left, timedelta(seconds=1)), timedelta(hours=1)))


def _checked(response: httpx.Response) -> httpx.Response:
    """Return an answer that is no refusal; a refusal becomes an error of ours."""
    status = response.status_code
    if response.is_success:
        return response
    said = _message(response)
    request = f"{response.request.method} {response.request.url.path}"
    if response.headers.get("x-seraph-loginreason") == "AUTHENTICATION_DENIED":
        raise BoardAccessError(
            "Jira wants a person to solve a CAPTCHA before it takes this account's token again; "
            "sign in to Jira in a browser."
        )
    match status:
        case 401:
            raise BoardAccessError(
                f"Jira refuses the token ({said}); on Jira Cloud it needs the email of its account "
                "(ATHANORE_JIRA_EMAIL), on Data Center none. Make a new one, and set "
                "ATHANORE_JIRA_TOKEN to it."
            )
        case 403:
            raise BoardAccessError(
                f"Jira does not allow {request} ({said}); give the token's account the project "
                "permissions to browse, create, edit, assign and transition issues and to comment "
                "(a token with scopes: read:jira-work, write:jira-work, read:jira-user)."
            )
        case 404 | 410:
            raise MissingError(said)
        case 301 | 302 | 307 | 308:
            raise MissingError(said, place=response.headers.get("location") or "elsewhere")
        case 400 | 409 | 413 | 422:
            codes = list(answers.mapping(answers.details(response).get("errors")))
            raise RefusedValueError(f"Jira cannot take this value: {said}.", codes)
        case _:
            raise BoardError(f"Jira refused {request} with status {status}: {said}.")


def _message(response: httpx.Response) -> str:
    """What Jira says about an error; in the account's language."""
    body = answers.details(response)
    by_field = answers.mapping(body.get("errors"))
    messages = cast("list[object]", body.get("errorMessages") or [])
    parts = [*map(str, messages), *(f"{name}: {problem}" for name, problem in by_field.items())]
    said = " ".join(parts) or response.reason_phrase or f"status {response.status_code}"
    return said.rstrip(".")
