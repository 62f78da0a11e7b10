"""The API's way to Prefect: one client, a short patience, and errors of ours.

The board's part of a request must not wait for a Prefect server that is away: an agent has to be
able to comment, move its task and end while it is. Prefect's own client would try for a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, cast, override

import httpx
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from athanore.errors import PrefectUnavailableError
from athanore.runs.connection.clock import Clock
from athanore.runs.connection.transports import Connections, http_transport, prefect_client
from athanore.runs.prefect_store import PrefectRunStore

logger = logging.getLogger("athanore.api")

_LOOK_EVERY = 0.5
_LOOK_PATIENCE = 2.0
_AWAY = "The Prefect server does not answer; try again soon."
_BUSY = "There are more requests of the Prefect server than it can answer just now; try again soon."


class PrefectLink:
    """A client for all requests. Use as an async context manager.

    Once Prefect has not answered, it is not asked for anything until it says that it is back.

    Args:
        patience: how long a use of the client may take, if nothing else is said.
        clock: hears from Prefect's answers what time it is there.
    """

    def __init__(self, patience: timedelta, clock: Clock) -> None:
        self._patience = patience
        self._clock = clock
        self._stack = AsyncExitStack()
        self._client: PrefectRunStore | None = None
        self._connections: Connections | None = None
        self._look_out: asyncio.Task[None] | None = None
        self._heard_at = 0.0

    async def __aenter__(self) -> PrefectLink:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._look_out is not None:
            self._look_out.cancel()
            with suppress(asyncio.CancelledError):
                await self._look_out
        await self._stack.aclose()
        self._client = None

    @property
    def is_away(self) -> bool:
        """True from when Prefect did not answer until it does again."""
        return self._look_out is not None and not self._look_out.done()

    @asynccontextmanager
    async def client(self, patience: timedelta | None = None) -> AsyncGenerator[PrefectRunStore]:
        """Use the client for something that takes a few requests, and nothing but these.

        Whatever else is waited for in the block, such as the board, would count as Prefect's time.

        Args:
            patience: how long all of it may take.

        Raises:
            PrefectUnavailableError: Prefect is away, or did not answer in time.
        """
        if self.is_away:
            raise PrefectUnavailableError(_AWAY)
        began = asyncio.get_running_loop().time()
        deadline = asyncio.timeout((patience or self._patience).total_seconds())
        try:
            async with deadline:
                yield await self._connected()
        except (TimeoutError, httpx.TransportError, _NoAnswer) as exc:
            if isinstance(exc, TimeoutError) and not deadline.expired():
                raise
            if isinstance(exc, TimeoutError) and self._heard_at > began:
                raise PrefectUnavailableError(_BUSY) from exc  # it answers others
            if not self.is_away and self._connections is not None:
                self._look_out = asyncio.create_task(self._until_back(self._connections))
            raise PrefectUnavailableError(_AWAY) from exc
        except PrefectHTTPStatusError as exc:
            if exc.response.status_code < 500:
                raise
            raise PrefectUnavailableError(
                f"The Prefect server answers {exc.response.status_code}; try again soon."
            ) from exc

    async def _connected(self) -> PrefectRunStore:
        if self._client is None:
            if not get_current_settings().api.url:
                # Prefect's client would start a server of its own.
                raise PrefectUnavailableError("PREFECT_API_URL names no Prefect server.")
            self._connections = http_transport()
            client = prefect_client(
                _ImpatientTransport(self._connections), event_hooks={"response": [self._note]}
            )
            await self._stack.enter_async_context(client)
            self._client = client
        return self._client

    async def _note(self, response: httpx.Response) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        self._clock.heard(response.headers.get("date"))

    async def _until_back(self, connections: Connections) -> None:
        """Return as soon as Prefect and its database answer.

        It looks through a connection of its own, which no request can take; those that the others
        had are given up, as they may lead nowhere.
        """
        try:
            async with prefect_client(_ImpatientTransport(http_transport())) as client:
                while True:
                    if await _is_ready(client):
                        break
                    await asyncio.sleep(_LOOK_EVERY)
        except Exception:
            logger.exception(
                "It cannot be found out whether Prefect is back; it is asked again.",
                extra={"action": "prefect_look_failed"},
            )
        await connections.renew()


class _NoAnswer(Exception):
    """Nothing was heard from Prefect. Not one of httpx's errors: Prefect's client repeats those."""


class _ImpatientTransport(httpx.AsyncBaseTransport):
    """Tries a request a second time, since a kept connection may have been closed; then no more."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(request)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            pass
        try:
            return await self._transport.handle_async_request(request)
        except (httpx.NetworkError, httpx.RemoteProtocolError) as exc:
            raise _NoAnswer from exc

    @override
    async def aclose(self) -> None:
        await self._transport.aclose()


async def _is_ready(client: PrefectRunStore) -> bool:
    try:
        async with asyncio.timeout(_LOOK_PATIENCE):
            await client.request("GET", cast(Any, "/ready"))
    except PrefectHTTPStatusError as exc:
        return exc.response.status_code < 500  # it may not know this way, but it is there
    except (TimeoutError, httpx.TransportError, _NoAnswer):
        return False
    return True
