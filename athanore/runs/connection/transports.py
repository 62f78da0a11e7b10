"""The way to Prefect's API: connections with Prefect's own settings, below Prefect's client.

Prefect's client tries a request again for about a minute while its server is away. A worker has to
wait for longer, and the task API for less: each has a transport of its own around this one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, override

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from athanore.errors import ConfigurationError, reason
from athanore.http_client.proxies import proxy_for
from athanore.runs.prefect_store import PrefectRunStore

_CONNECTIONS = 16
_KEPT_IDLE = 8
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=25)


def prefect_client(
    transport: httpx.AsyncBaseTransport | None = None, **settings: Any
) -> PrefectRunStore:
    """Make a client of Prefect's API. All of ours are made here.

    Prefect's own `get_client()` asks the environment's proxy for a server of this machine, too.

    Args:
        transport: by default one that tries to connect some times, as Prefect's does.
        settings: further ones of httpx's client.
    """
    return PrefectRunStore.of(
        get_client(httpx_settings={**settings, "transport": transport or http_transport(retries=3)})
    )


def http_transport(retries: int = 0) -> Connections:
    """Make a transport; TLS, HTTP/2 and proxies as Prefect's client would have them.

    Args:
        retries: how often to try to connect again, over some seconds.
    """
    api = get_current_settings().api
    verify = _certificates()
    proxy = proxy_for(api.url or "")
    return Connections(
        lambda: httpx.AsyncHTTPTransport(
            verify=verify, http2=api.enable_http2, limits=_LIMITS, proxy=proxy, retries=retries
        )
    )


def probe_transport(url: str) -> httpx.AsyncHTTPTransport:
    """Make a transport for a single question to a server that may or may not be Prefect's.

    It is as `http_transport`, but loads the certificates only where they are needed, since that
    takes longer than the request. So it must not follow redirects.
    """
    verify = _certificates() if url.lower().startswith("https:") else False
    return httpx.AsyncHTTPTransport(verify=verify, proxy=proxy_for(url))


class _GiveBack(Protocol):
    async def __call__(self, *, usable: bool) -> None: ...


class Connections(httpx.AsyncBaseTransport):
    """A few connections, each for one request at a time; who finds none free waits here.

    Not httpx's own pool: a request that is cancelled while it waits in there may leave its place
    taken for ever, and after some dozens of those nobody gets a connection any more. Here a
    connection is thrown away unless its request has come to its end.

    Args:
        connect: makes a transport that is used for one connection.
    """

    def __init__(self, connect: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._connect = connect
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._idle: deque[httpx.AsyncBaseTransport] = deque()
        self._renewals = 0

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._places.acquire()
        try:
            connection = self._idle.pop() if self._idle else self._connect()
        except BaseException:
            self._places.release()
            raise
        give_back = partial(self._give_back, connection, self._renewals)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await give_back(usable=False)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream, give_back)
        return response

    async def renew(self) -> None:
        """Use none of the present connections again: their server has been away."""
        self._renewals += 1
        while self._idle:
            await _close(self._idle.popleft())

    async def _give_back(
        self, connection: httpx.AsyncBaseTransport, renewals: int, *, usable: bool
    ) -> None:
        """Let the next request have the place, and the connection where that is of use."""
        self._places.release()
        if usable and renewals == self._renewals:
            self._idle.append(connection)
            if len(self._idle) <= _KEPT_IDLE:
                return
            connection = self._idle.popleft()
        await _close(connection)

    @override
    async def aclose(self) -> None:
        await self.renew()


class _Body(httpx.AsyncByteStream):
    """An answer's body, which has the connection until it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, give_back: _GiveBack) -> None:
        self._stream = stream
        self._give_back = give_back
        self._read = False
        self._closed = False

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part
        self._read = True

    @override
    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._stream.aclose()
        finally:
            await self._give_back(usable=self._read)


async def _close(connection: httpx.AsyncBaseTransport) -> None:
    with suppress(Exception):  # it is of no use any more, whatever it says
        await connection.aclose()


def _certificates() -> ssl.SSLContext:
    """Read the certificates once: that takes longer than a request.

    Raises:
        ConfigurationError: the file that is set has none.
    """
    api = get_current_settings().api
    if api.tls_insecure_skip_verify:
        return httpx.create_ssl_context(verify=False)
    if api.ssl_cert_file:
        try:
            return ssl.create_default_context(cafile=api.ssl_cert_file)
        except OSError as exc:
            raise ConfigurationError(
                f"PREFECT_API_SSL_CERT_FILE (or SSL_CERT_FILE): no certificates can be read from "
                f"{api.ssl_cert_file!r}: {reason(exc)}."
            ) from exc
    return httpx.create_ssl_context()
