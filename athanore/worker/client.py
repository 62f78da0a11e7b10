"""The Prefect client of a worker: one for all its runs, and patient while the server is away."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import override

import httpx
from prefect.context import AsyncClientContext, ContextModel, SyncClientContext

from athanore.errors import PrefectUnavailableError, reason
from athanore.runs.connection.transports import http_transport, prefect_client
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App

logger = logging.getLogger("athanore.worker")

# Nothing reached the server, or it said that it could not do it: safe to send again.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_AWAY = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadTimeout)
_BUSY = frozenset({502, 503})
_FAULTS = frozenset({500, 504})
"""What Prefect answers to each request while its database is started anew, or a proxy before it."""

_PAUSE = 1.0
_BUSY_PAUSE = 0.05
_LONGEST_BUSY_PAUSE = 1.0
_FAULT_PATIENCE = timedelta(minutes=5)
_LONGEST_FAULT_PAUSE = 5.0
_LAST_PATIENCE = 2.0  # seconds for a request that hangs, once nobody waits for the server


class PatientTransport(httpx.AsyncBaseTransport):
    """Sends a request again while the server is away, and soon when it is only busy.

    Prefect's own client gives up after about a minute, and its engine then takes the lost request
    for a failure of the flow: it would run a finished agent again. It also waits 2, 4, 8 ... s when
    SQLite is locked for a moment. Both end here, below that client.

    It waits for as long as the server is away: what an agent came to is delivered afterwards.
    `give_up` ends that, for a shutdown; a request that hangs at a frozen server is ended as well.
    A server that is there and has an error of its own is asked again for some minutes: it may be
    its database that is away, or the request that it cannot answer.

    Args:
        apps: those whose worker it is; they are told when the server is away, and is back.
        was_there: the server has answered this process before. One that never did is not waited
            for: its address may be wrong.
        fault_patience: how long a request is repeated that the server answers with status 500
            or 504.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        apps: Sequence[App] = (),
        *,
        was_there: bool = False,
        fault_patience: timedelta = _FAULT_PATIENCE,
    ) -> None:
        self._transport = transport
        self._apps = apps
        self._impatient = False
        self._in_flight: set[asyncio.Timeout] = set()
        self._was_there = was_there
        self._fault_patience = fault_patience.total_seconds()
        self._away_since: float | None = None

    @property
    def away_for(self) -> timedelta:
        """How long the server has not answered; zero while it does."""
        if self._away_since is None:
            return timedelta(0)
        return timedelta(seconds=asyncio.get_running_loop().time() - self._away_since)

    def give_up(self) -> None:
        """Let errors out from now on, as `PrefectUnavailableError`."""
        self._impatient = True
        latest = asyncio.get_running_loop().time() + _LAST_PATIENCE
        for limit in self._in_flight:
            limit.reschedule(latest)

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        busy_pause = _BUSY_PAUSE
        fault_since: float | None = None
        while True:
            try:
                response = await self._send(request)
            except (*_NOT_SENT, *_AWAY) as exc:
                if self._impatient:
                    # Not one of httpx's errors: Prefect's client would try for another minute.
                    text = f"Prefect does not answer: {reason(exc)}"
                    raise PrefectUnavailableError(text) from exc
                if not self._was_there:
                    raise
                if self._away_since is None:
                    self._away_since = loop.time()
                    for app in self._apps:
                        app.local_runs.note_outage()
                    logger.warning(
                        "Prefect does not answer (%s); waiting for it.",
                        reason(exc),
                        extra={"action": "prefect_away"},
                    )
                await asyncio.sleep(_PAUSE * random.uniform(0.7, 1.3))
                continue
            self._was_there = True
            for app in self._apps:
                app.clock.heard(response.headers.get("date"))
            if self._away_since is not None:
                logger.info(
                    "Prefect is back after %.0f s.",
                    loop.time() - self._away_since,
                    extra={"action": "prefect_back"},
                )
                self._away_since = None
                for app in self._apps:
                    app.local_runs.note_return()
            status, longest = response.status_code, _LONGEST_BUSY_PAUSE
            if self._impatient or status not in _BUSY | _FAULTS:
                return response
            if status in _FAULTS:
                if fault_since is None:
                    fault_since = loop.time()
                    logger.warning(
                        "Prefect answers %s %s with status %s; it is asked again.",
                        request.method,
                        request.url.path,
                        status,
                        extra={"action": "prefect_fault"},
                    )
                if loop.time() - fault_since >= self._fault_patience:
                    return response
                longest = _LONGEST_FAULT_PAUSE
            await response.aclose()
            await asyncio.sleep(busy_pause * random.uniform(0.5, 1.5))
            busy_pause = min(busy_pause * 2, longest)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            async with asyncio.timeout(_LAST_PATIENCE if self._impatient else None) as limit:
                self._in_flight.add(limit)
                try:
                    return await self._transport.handle_async_request(request)
                finally:
                    self._in_flight.discard(limit)
        except TimeoutError as exc:
            raise httpx.ReadTimeout(f"nothing within {_LAST_PATIENCE:g} s") from exc

    @override
    async def aclose(self) -> None:
        await self._transport.aclose()


class _SharedClient(AsyncClientContext):
    """A client that Prefect's `get_client()` finds, although its transport is not the usual one.

    Prefect's engine asks for a client for each task run. It overlooks one that was made with
    settings of its own, and a new one costs 25 ms: it loads the certificates of all authorities.
    """

    def __init__(self, client: PrefectRunStore) -> None:
        ContextModel.__init__(self, client=client)


@asynccontextmanager
async def shared_client(
    apps: Sequence[App], *, was_there: bool
) -> AsyncGenerator[PatientTransport]:
    """Make one patient client that everything in this context uses; see `PatientTransport`."""
    transport = PatientTransport(http_transport(retries=3), apps, was_there=was_there)
    client = prefect_client(transport)
    # The engine makes a synchronous client for each run, too, although it sends nothing with it.
    async with _SharedClient(client):
        with SyncClientContext():
            yield transport
