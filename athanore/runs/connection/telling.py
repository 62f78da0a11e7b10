"""Saying what a request to Prefect waits for, when it takes long.

Prefect's client sends a request again for about a minute while its server is away or busy, with
longer and longer pauses. A person who gave a command, or who started an app, must not be left
without a word for that time.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import override
from weakref import WeakKeyDictionary

import httpx

from athanore.errors import reason
from athanore.runs.connection.transports import http_transport, prefect_client
from athanore.runs.prefect_store import PrefectRunStore

logger = logging.getLogger("athanore")

_BUSY = frozenset({408, 429, 502, 503, 504})
_SOON = timedelta(seconds=5)


def telling_client() -> PrefectRunStore:
    """Make a client for what a person waits for: a command, a start, a deployment."""
    return prefect_client(TellingTransport(http_transport(retries=3)))


class TellingTransport(httpx.AsyncBaseTransport):
    """Logs which request waits, when it has waited for some seconds and now and then afterwards.

    Args:
        after: how long a request may take, all its tries together, before it is named; and the
            least time between two lines.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, after: timedelta = _SOON) -> None:
        self._transport = transport
        self._after = after.total_seconds()
        self._told = float("-inf")
        self._since: WeakKeyDictionary[httpx.Request, float] = WeakKeyDictionary()

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        since = self._since.setdefault(
            request, loop.time()
        )  # the client sends the same object again
        timer = loop.call_later(self._after, self._tell, request, since, "no answer yet")
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TransportError as exc:
            self._tell_late(request, since, reason(exc))
            raise
        finally:
            timer.cancel()
        if response.status_code in _BUSY:
            self._tell_late(request, since, f"it answers {response.status_code}")
        return response

    def _tell_late(self, request: httpx.Request, since: float, why: str) -> None:
        if asyncio.get_running_loop().time() - since >= self._after:
            self._tell(request, since, why)

    def _tell(self, request: httpx.Request, since: float, why: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told < self._after:
            return
        self._told = now
        logger.warning(
            "Waiting for Prefect at %s: %s %s has taken %.0f s so far (%s).",
            request.url.netloc.decode(),
            request.method,
            request.url.path,
            now - since,
            why,
            extra={"action": "prefect_slow"},
        )

    @override
    async def aclose(self) -> None:
        await self._transport.aclose()
