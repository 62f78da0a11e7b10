"""The seam to GitHub's REST API: its limits, and the translation of every status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, cast

import httpx

from athanore.errors import BoardAccessError, BoardError
from athanore.http_client.client import HttpClient, Limited, Parameters
from athanore.http_client.patience import Patience
from athanore.http_client.quotas import in_headers
from athanore.models import Quota
from athanore.queue_adapters.github.credentials import Credential
from athanore.queue_adapters.tracker import answers
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError
from athanore.version import __version__

HEADERS: Final = MappingProxyType(
    {
        "Accept": "application/vnd.github+json",
        "User-Agent": f"athanore/{__version__}",
        "X-GitHub-Api-Version": "2022-11-28",
    }
)
"""What is sent with each request, beside the credential."""

_ALL: Final = {"per_page": 100}
_LONGEST_WAIT: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as it was at a moment, by GitHub's clock; `etag` is None if it is over one page."""

    rows: list[Json]
    etag: str | None
    at: datetime


class GitHubClient:
    """GitHub for one credential; safe to use from many threads."""

    def __init__(
        self,
        api: str,
        credential: Credential,
        patience: Patience,
    ) -> None:
        self.credential = credential
        self.api = api
        self._http = HttpClient(
            "GitHub",
            f"{api}/",
            HEADERS,
            timeout=patience.timeout,
            retry_delays=patience.retry_delays,
            limited=limit_in,
            quota=quotas_in,
            auth=credential.auth,
            account=credential.account,
        )
        self.quotas = self._http.quotas

    def get(self, path: str, params: Parameters | None = None) -> Any:
        """Read what is at a path; None where GitHub says only that it is there.

        Raises:
            BoardAccessError: GitHub refuses the token, or lets it not see this.
            BoardUnavailableError: GitHub did not answer.
            MissingError: it is not there, or the account may not see it.
        """
        return answers.content(self._read(path, params), "GitHub")

    def changed(self, path: str, params: Parameters, etag: str | None) -> Listing | None:
        """Read a list if it has changed since its `etag`; None if it has not.

        An unchanged list does not count towards the account's limit of requests. A list that does
        not fit one page is read whole, and has no etag.
        """
        headers = {"If-None-Match": etag} if etag else {}
        first = self._http.send("GET", path, params={**_ALL, **params}, headers=headers)
        if first.status_code == 304:
            return None
        rows = answers.rows(_checked(first), "GitHub")
        following = first.links.get("next", {}).get("url")
        if following is None:
            return Listing(rows, first.headers.get("etag"), answers.sent_at(first))
        for response in self._http.pages(str(following)):
            rows += answers.rows(_checked(response), "GitHub")
        return Listing(rows, None, answers.sent_at(first))

    def pages(self, path: str, params: Parameters | None = None) -> Iterator[list[Json]]:
        """Read a list, 100 rows a request."""
        for response in self._http.pages(path, {**_ALL, **(params or {})}):
            yield answers.rows(_checked(response), "GitHub")

    def write(self, method: str, path: str, body: Json | None = None) -> Any:
        """Change something, in one request that is never repeated once it may have arrived.

        Raises:
            AnswerLostError: the answer was lost; it may have been done.
            InvalidTaskError: GitHub cannot take a value.
        """
        return answers.content(_checked(self._http.send(method, path, body=body)), "GitHub")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self.credential.close()

    def _read(self, path: str, params: Parameters | None) -> httpx.Response:
        return _checked(self._http.send("GET", path, params=params))


def quotas_in(response: httpx.Response) -> Sequence[Quota]:
    """What an answer tells of the quota that it has counted towards, of several."""
    name = response.headers.get("x-ratelimit-resource", "core")
    return in_headers(response, name, "x-ratelimit")


def limit_in(response: httpx.Response) -> Limited | None:
    """Tell whether an answer is a refusal because of a rate limit, and how long that lasts.

    GitHub has a primary limit, which counts requests in an hour and says when it begins anew, and
    secondary ones, which say so or do not. Those are for REST and GraphQL together.
    """
    if response.status_code not in (403, 429):
        return None
    headers = response.headers
    if (wait := told_wait(response)) is not None:
        return Limited(wait, is_of_host=True)
    reset = answers.number(headers.get("x-ratelimit-reset"))
    if headers.get("x-ratelimit-remaining") == "0" and reset is not None:
        left = (
            reset - answers.sent_at(response).timestamp()
        )  # by GitHub's clock, whatever ours says
        return Limited(timedelta(seconds=min(max(left, 1), _LONGEST_WAIT)))
    if response.status_code == 429 or "rate limit" in said(response).lower():
        return Limited(None, is_of_host=True)
    return None


def told_wait(response: httpx.Response) -> timedelta | None:
    """For how long an answer asks to be left alone; None if it does not say."""
    seconds = answers.number(response.headers.get("retry-after"))
    return None if seconds is None else timedelta(seconds=min(max(seconds, 1), _LONGEST_WAIT))


def _checked(response: httpx.Response) -> httpx.Response:
    """Return an answer that is no refusal; a refusal becomes an error of ours."""
    status = response.status_code
    if response.is_success:
        return response
    words = said(response)
    request = f"{response.request.method} {response.request.url.path}"
    match status:
        case 401:
            raise BoardAccessError(
                f"GitHub refuses the token ({words}); make a new one, which may read and write the "
                "issues of the repository, and set ATHANORE_GITHUB_TOKEN or GITHUB_TOKEN to it."
            )
        case 403 if "is locked" in words:  # this one issue; whoever locked it may write to it
            raise BoardError(f"GitHub does not allow {request}: {words}.")
        case 403 | 451:
            raise BoardAccessError(f"GitHub does not allow {request} ({words}); {_mend(response)}")
        case 404 | 410:
            raise MissingError(words)
        case 301 | 302 | 307 | 308:
            raise MissingError(words, place=response.headers.get("location") or "elsewhere")
        case 400 | 413 | 422:
            raise RefusedValueError(f"GitHub cannot take this value: {words}.", _codes(response))
        case _:
            raise BoardError(f"GitHub refused {request} with status {status}: {words}.")


def _mend(response: httpx.Response) -> str:
    """What to do about a 403: GitHub names the permission that is missing in a header."""
    if (sso := response.headers.get("x-github-sso")) is not None:
        place = sso.partition("url=")[2]
        return f"let the token be used in the organization{f': {place}' if place else ''}."
    wanted = response.headers.get("x-accepted-github-permissions")
    is_app = "by integration" in said(response)
    if wanted and wanted.startswith("checks") and not is_app:
        return (
            "fine-grained tokens have no permission for checks: use a classic token with the scope "
            "repo, or a GitHub App with the permission checks: read."
        )
    if wanted:
        whom = "the app" if is_app else "the token"
        return f"give {whom} the permission {wanted.replace('=', ': ')} for the repository."
    return (
        "give the token the permission Issues: read and write (a classic token: the scope repo), "
        "and its account at least the role Triage in the repository."
    )


def said(response: httpx.Response) -> str:
    """What GitHub says about an error, with the problems that it found."""
    body = answers.details(response)
    words = str(body.get("message") or response.reason_phrase or f"status {response.status_code}")
    found = [_problem(error) for error in cast("list[object]", body.get("errors") or [])]
    return f"{words.rstrip('.')}{': ' if found else ''}{', '.join(found)}"


def _problem(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    row = cast("Json", error)
    named = f"{row.get('field')} {row.get('code')}" if row.get("field") else row.get("code")
    return str(row.get("message") or named)


def _codes(response: httpx.Response) -> list[str]:
    errors = cast("list[object]", answers.details(response).get("errors") or [])
    return [str(cast("Json", e).get("code")) for e in errors if isinstance(e, dict)]
