"""One HTTP client for one account of one server: the part that is the same for every tracker.

It gives every request a time limit, repeats reads that failed in passing, sends writes one after
another and never twice, goes through the proxy and trusts the certificates of the environment, and
sends nothing while a rate limit lasts. What a status means is the caller's to say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit
from weakref import finalize

import httpx

from athanore.errors import AnswerLostError, BoardError, BoardUnavailableError
from athanore.errors import reason as said_by
from athanore.http_client import accounts
from athanore.http_client.addresses import without_login
from athanore.http_client.certificates import refused_certificate
from athanore.http_client.dates import header_date
from athanore.http_client.proxies import by_way_of, proxy_for
from athanore.http_client.retries import NOT_SENT, READ, RetryingTransport, may_be_done
from athanore.models import Quota

# Servers close idle connections; a write on one that is closing could not be repeated.
_LIMITS: Final = httpx.Limits(keepalive_expiry=2)
_CONNECT_SECONDS: Final = 5
_CREDENTIALS: Final = ("Authorization", "X-Api-Key")

type Parameters = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Limited:
    """What a server says that refuses further requests.

    Attributes:
        wait: how long that lasts; None where it does not say.
        is_of_host: whether it refuses the account on all of its host, and not at this address only.
    """

    wait: timedelta | None
    is_of_host: bool = False


class HttpClient:
    """Sends requests to one server with one credential; safe to use from many threads.

    Args:
        server: what the server is called in messages (`GitHub`).
        url: the address that all paths are below.
        headers: sent with every request; the credential is in them.
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a request that failed in passing.
        limited: tells whether an answer is a refusal for too many requests.
        quota: what an answer tells of the quotas of the account.
        repeatable: the methods whose requests may be sent twice; others than GET only where each
            write sets the same again.
        unclear: the statuses, of those from 500 on, after which a write may have been done; by
            default all of them. After the others nothing was changed.
        auth: puts a credential on each request, where it is not always the same.
        account: whose requests the server counts together, where that is not told by the
            credential in the headers. Clients of the process with the same one share what is
            known of its limits.
    """

    def __init__(
        self,
        server: str,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout: timedelta,
        retry_delays: Sequence[timedelta],
        limited: Callable[[httpx.Response], Limited | None],
        quota: Callable[[httpx.Response], Iterable[Quota]] = lambda _: (),
        repeatable: Collection[str] = ("GET",),
        unclear: Collection[int] = range(500, 600),
        auth: httpx.Auth | None = None,
        account: str = "",
    ) -> None:
        self.server = server
        self.url = without_login(url)
        told = account or next((headers[name] for name in _CREDENTIALS if name in headers), "")
        self._account = accounts.of_this_process.at(server, url, told)
        self._host = accounts.of_this_process.at(server, f"all of {urlsplit(url).netloc}", told)
        self.rate_limit = self._account.rate_limit
        self.quotas = self._account.quotas
        self._limited = limited
        self._quota = quota
        self._unclear = unclear
        self._ahead = timedelta(0)
        self._writes = threading.Lock()
        self._http = httpx.Client(
            base_url=url,
            headers=dict(headers),
            auth=auth,
            timeout=httpx.Timeout(timeout.total_seconds(), connect=_CONNECT_SECONDS),
            # Redirects are not followed: they could carry the credential elsewhere.
            transport=RetryingTransport(
                httpx.HTTPTransport(limits=_LIMITS, proxy=proxy_for(url)), retry_delays, repeatable
            ),
        )

        self._end = finalize(self, self._http.close)  # no socket outlives its user

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        reads: bool | None = None,
        timeout: timedelta | None = None,
    ) -> httpx.Response:
        """Send one request, and return the answer if its status is below 500 and no limit.

        Args:
            path: below the client's address, without a slash at its beginning; or a whole address
                on the same server.
            body: what is sent as JSON; None sends no body.
            reads: whether the request changes nothing, so that it may be sent twice; by default
                that is said by its method.
            timeout: how long this answer may take, instead of the client's time.

        Raises:
            BoardUnavailableError: there was no answer, and nothing was changed.
            AnswerLostError: there was no answer, or a server's error, and a write may be done.
        """
        reads = method == "GET" if reads is None else reads
        self._check_limits()
        request = self._http.build_request(
            method,
            path,
            params=params,
            json=body,
            headers=headers,
            extensions={READ: True} if reads else None,
            timeout=timeout.total_seconds() if timeout else httpx.USE_CLIENT_DEFAULT,
        )
        with nullcontext() if reads else self._writes:
            self._check_limits()  # it may have been refused while this thread waited its turn
            response = self._sent(request)
        if (told := header_date(response.headers.get("date"))) is not None:
            self._ahead = told - datetime.now(UTC)
        self.quotas.note(self._quota(response))
        if (limited := self._limited(response)) is not None:
            account = self._host if limited.is_of_host else self._account
            account.rate_limit.refused(limited.wait)
            self._check_limits()
        if response.status_code >= 500:
            status = response.status_code
            raise self._trouble(response.request, f"status {status}", status in self._unclear)
        if not reads and response.is_success:
            self.rate_limit.accepted()
            self._host.rate_limit.accepted()
        return response

    def pages(self, path: str, params: Parameters | None = None) -> Iterator[httpx.Response]:
        """Send a GET, and one for each further page that an answer's Link header names.

        A caller that raises for a bad status ends the walk.
        """
        response = self.send("GET", path, params=params)
        yield response
        while (following := response.links.get("next", {}).get("url")) is not None:
            self._check_own(following)
            response = self.send("GET", following)
            yield response

    def now(self) -> datetime:
        """What time it is by the server's clock, to a second, as its last answer told."""
        return datetime.now(UTC) + self._ahead

    def close(self) -> None:
        """Close the connections."""
        self._end()

    def _check_limits(self) -> None:
        self.rate_limit.check()
        self._host.rate_limit.check()

    def _sent(self, request: httpx.Request) -> httpx.Response:
        """Send a request. The one place where errors of httpx become Athanore's."""
        try:
            return self._http.send(request)
        except httpx.RequestError as exc:
            if (refused := refused_certificate(exc)) is not None:
                raise BoardUnavailableError(
                    f"The certificate of the server at {self.url}{by_way_of(self.url)} is "
                    f"refused: {refused}. Set SSL_CERT_FILE to a file with the certificate of its "
                    "authority."
                ) from exc
            said, is_unclear = said_by(exc), not isinstance(exc, NOT_SENT)
            raise self._trouble(request, said, is_unclear) from exc

    def _trouble(self, request: httpx.Request, said: str, is_unclear: bool) -> BoardError:
        if may_be_done(request, is_unclear):
            # Not "unavailable": that would promise that nothing was changed, and be tried again.
            return AnswerLostError(
                f"{self.server}'s answer to {request.method} {request.url.path} was lost ({said}): "
                "it may have been done. Look before doing it again."
            )
        return BoardUnavailableError(
            f"{self.server} at {self.url}{by_way_of(self.url)} did not answer ({said}). Check "
            "that it can be reached from here and that the address is right."
        )

    def _check_own(self, address: str) -> None:
        """Refuse to send the credential to another server than ours."""
        own, other = self._http.base_url, httpx.URL(address)
        if (own.scheme, own.host, own.port) != (other.scheme, other.host, other.port):
            raise BoardUnavailableError(
                f"{self.server} at {self.url} names a next page on another server, "
                f"{without_login(address)}, which is not asked: a proxy may change its answers."
            )
