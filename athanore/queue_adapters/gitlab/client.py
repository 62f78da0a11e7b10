"""The seam to GitLab's REST API: its limits, and the translation of every status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

import httpx

from athanore.errors import BoardAccessError, BoardError
from athanore.http_client.client import HttpClient, Limited, Parameters
from athanore.http_client.quotas import in_headers
from athanore.models import Quota
from athanore.queue_adapters.tracker import answers
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError
from athanore.version import __version__

_ALL: Final = {"per_page": 100}


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as it was at a moment, by GitLab's clock; `is_small` if it fits one page."""

    rows: list[Json]
    is_small: bool
    at: datetime


class GitLabClient:
    """GitLab for one token; safe to use from many threads."""

    def __init__(
        self, api: str, token: str, *, timeout: timedelta, retry_delays: Sequence[timedelta]
    ) -> None:
        self.token = token
        self._http = HttpClient(
            "GitLab",
            f"{api}/",
            {
                "Accept": "application/json",
                # Of personal, project and group access tokens, and of OAuth alike.
                "Authorization": f"Bearer {token}",
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
            BoardAccessError: GitLab refuses the token, or lets it not see this.
            BoardUnavailableError: GitLab did not answer.
            MissingError: it is not there, or the account may not see it.
        """
        return answers.content(_checked(self._http.send("GET", path, params=params)), "GitLab")

    def listing(self, path: str, params: Parameters) -> Listing:
        """Read a list whole, 100 rows a request."""
        rows: list[Json] = []
        pages = 0
        at: datetime | None = None
        for response in self._http.pages(path, {**_ALL, **params}):
            rows += answers.rows(_checked(response), "GitLab")
            at = at or answers.sent_at(response)
            pages += 1
        return Listing(rows, pages == 1, cast("datetime", at))

    def pages(self, path: str, params: Parameters | None = None) -> Iterator[list[Json]]:
        """Read a list, 100 rows a request."""
        for response in self._http.pages(path, {**_ALL, **(params or {})}):
            yield answers.rows(_checked(response), "GitLab")

    def write(self, method: str, path: str, body: Json | None = None) -> Any:
        """Change something, in one request that is never repeated once it may have arrived.

        Raises:
            AnswerLostError: the answer was lost; it may have been done.
            InvalidTaskError: GitLab cannot take a value.
        """
        return answers.content(_checked(self._http.send(method, path, body=body)), "GitLab")

    def now(self) -> datetime:
        """What time it is by GitLab's clock."""
        return self._http.now()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def quotas_in(response: httpx.Response) -> Sequence[Quota]:
    """What an answer tells of the limit that it has counted towards; GitLab has it per minute.

    A GitLab of one's own tells nothing unless its administrator has set limits.
    """
    return in_headers(response, response.headers.get("ratelimit-name", "requests"), "ratelimit")


def limit_in(response: httpx.Response) -> Limited | None:
    """Tell whether an answer is a refusal because of a rate limit, and how long that lasts.

    The limit of requests says it; those of notes and of new issues, which count in a minute, do not
    always.
    """
    if response.status_code != 429:
        return None
    headers = response.headers
    if (seconds := answers.number(headers.get("retry-after"))) is not None:
        return Limited(timedelta(seconds=max(seconds, 1)))
    reset = answers.number(headers.get("ratelimit-reset"))
    if reset is not None and headers.get("ratelimit-remaining") == "0":
        left = reset - answers.sent_at(response).timestamp()  # by GitLab's clock, not ours
        return Limited(timedelta(seconds=min(max(left, 1), 3600)))
    return Limited(None)


def _checked(response: httpx.Response) -> httpx.Response:
    """Return an answer that is no refusal; a refusal becomes an error of ours."""
    status = response.status_code
    if response.is_success:
        return response
    said = _message(response)
    request = f"{response.request.method} {response.request.url.path}"
    match status:
        case 401:
            raise BoardAccessError(
                f"GitLab refuses the token ({said}); make a new one, with the scope api, and set "
                "ATHANORE_GITLAB_TOKEN or GITLAB_TOKEN to it."
            )
        case 403:
            raise BoardAccessError(f"GitLab does not allow {request} ({said}); {_mend(response)}")
        case 404 | 410:
            raise MissingError(said)
        case 301 | 302 | 307 | 308:
            raise MissingError(said, place=response.headers.get("location") or "elsewhere")
        case 400 | 409 | 413 | 422:
            codes = ["conflict"] if status == 409 else _fields(response)
            raise RefusedValueError(f"GitLab cannot take this value: {said}.", codes)
        case _:
            raise BoardError(f"GitLab refused {request} with status {status}: {said}.")


def _mend(response: httpx.Response) -> str:
    """What to do about a 403: GitLab names the scope if it is that which is missing."""
    body = answers.details(response)
    if body.get("error") == "insufficient_scope":
        scope = body.get("scope") or "api"
        return f"make a token with the scope {scope}, which the present one does not have."
    return (
        "give the token's account at least the role Planner or Reporter in the project, and the "
        "token the scope api (a project's or group's token has a role of its own)."
    )


def _message(response: httpx.Response) -> str:
    """What GitLab says about an error, which comes in three shapes."""
    body = answers.details(response)
    said = body.get("message") or body.get("error_description") or body.get("error")
    if isinstance(said, dict):
        by_field = cast("Json", said).items()
        return ", ".join(f"{name} {_words(value)}" for name, value in by_field)
    if said is None:
        said = response.reason_phrase or f"status {response.status_code}"
    return _words(said).rstrip(".")


def _words(value: object) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, cast("list[object]", value)))
    return str(value)


def _fields(response: httpx.Response) -> list[str]:
    return list(answers.mapping(answers.details(response).get("message")))
