"""The API's way to Prefect: one client, a short patience, and errors of ours.

The board's part of a request must not wait for a Prefect server that is away: Prefect's own client
would try for a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from athanore.errors import PrefectUnavailableError
from athanore.flows import clock

_PATIENCE = 8.0
_REST = 2.0


class PrefectLink:
    """A client for all requests. Use as an async context manager."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._client: PrefectClient | None = None
        self._away_until = 0.0

    async def __aenter__(self) -> PrefectLink:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()
        self._client = None

    @asynccontextmanager
    async def client(self, patience: float = _PATIENCE) -> AsyncGenerator[PrefectClient]:
        """Use the client for something that takes a few requests.

        Args:
            patience: seconds that all of it may take.

        Raises:
            PrefectUnavailableError: Prefect did not answer; it is not asked again for 2 s.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            raise PrefectUnavailableError("The Prefect server does not answer; try again soon.")
        deadline = asyncio.timeout(patience)
        try:
            async with deadline:
                yield await self._connected()
        except (TimeoutError, httpx.TransportError) as exc:
            if isinstance(exc, TimeoutError) and not deadline.expired():
                raise
            self._away_until = loop.time() + _REST
            raise PrefectUnavailableError(
                "The Prefect server does not answer; try again soon."
            ) from exc
        except PrefectHTTPStatusError as exc:
            if exc.response.status_code < 500:
                raise
            raise PrefectUnavailableError(
                f"The Prefect server answers {exc.response.status_code}; try again soon."
            ) from exc

    async def _connected(self) -> PrefectClient:
        if self._client is None:
            if not get_current_settings().api.url:
                # Prefect's client would start a server of its own.
                raise PrefectUnavailableError("PREFECT_API_URL names no Prefect server.")
            client = get_client(httpx_settings={"event_hooks": {"response": [_note_time]}})
            await self._stack.enter_async_context(client)
            self._client = client
        return self._client


async def _note_time(response: httpx.Response) -> None:
    clock.heard(response.headers.get("date"))
