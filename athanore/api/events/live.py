"""Prefect's live stream of agents' events, shared by all readers of this server.

It is a hint only: Prefect drops and reorders bursts, and so do we for a reader that is too slow.
Readers number what they get and fill gaps from Prefect's database.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

from athanore import names
from athanore.api.events.event_log import PREFIX, LoggedEvent
from athanore.api.problems import Problem

logger = logging.getLogger("athanore.api")

_BACKLOG = 256
_MAX_READERS = 200
_MAX_OF_AN_AGENT = 20  # so that none takes the places of people
_RECONNECT_PAUSE = 2.0
_CONNECT_PATIENCE = 3.0

EVERY_TASK = ""
"""The resource whose readers get the events of all tasks."""


class Subscription:
    """One reader's share of the stream. `lost` is set when something was dropped for it."""

    def __init__(self, ready: asyncio.Event) -> None:
        self._queue: asyncio.Queue[LoggedEvent | None] = asyncio.Queue(_BACKLOG)
        self._ready = ready
        self.closed = False
        self.lost = False

    async def connected(self) -> None:
        """Wait until the stream is there, but not for long: the database is read anyway."""
        try:
            async with asyncio.timeout(_CONNECT_PATIENCE):
                await self._ready.wait()
        except TimeoutError:
            pass

    async def next(self, patience: float) -> LoggedEvent | None:
        """Return the next event, or None after so many seconds without one."""
        try:
            async with asyncio.timeout(patience):
                return await self._queue.get()
        except TimeoutError:
            return None

    def put(self, event: LoggedEvent | None) -> None:
        """Give the reader an event if there is room; None closes the subscription."""
        if event is None:
            self.closed = True
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.lost = True


class LiveEvents:
    """Listens while there are readers, and hands each event to those that read its task."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._readers: dict[str, set[Subscription]] = {}
        self._count = 0
        self._of_agents: Counter[UUID | None] = Counter()
        self._ready = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def subscribe(
        self, resource: str, agent: UUID | None = None
    ) -> AsyncGenerator[Subscription]:
        """Read the events of one task, or of `EVERY_TASK`.

        Args:
            agent: the run of the agent that reads; None for people.

        Raises:
            Problem: 503, too many read already.
        """
        own = self._of_agents[agent] if agent is not None else 0
        if self._count >= _MAX_READERS or own >= _MAX_OF_AN_AGENT:
            raise Problem(
                503,
                "too-many-readers",
                f"{own or self._count} event streams are open already; close some, or poll "
                "GET /agents/{task_id} instead.",
                headers={"Retry-After": "5"},
            )
        subscription = Subscription(self._ready)
        if self._closed:
            subscription.put(None)
        readers = self._readers.setdefault(resource, set())
        readers.add(subscription)
        self._count += 1
        self._of_agents[agent] += 1
        self._start()
        try:
            yield subscription
        finally:
            self._count -= 1
            self._of_agents -= Counter([agent])  # and forgotten with the last one
            readers.discard(subscription)
            if not readers and self._readers.get(resource) is readers:
                del self._readers[resource]
            self._stop_if_idle()

    def _start(self) -> None:
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="agents' events")

    def _stop_if_idle(self) -> None:
        if self._count == 0 and self._listener is not None:
            self._listener.cancel()
            self._ending.add(self._listener)
            self._listener.add_done_callback(self._ending.discard)
            self._listener = None

    def close(self) -> None:
        """End all streams, and those that are about to begin, so that the server can stop."""
        self._closed = True
        for readers in self._readers.values():
            for reader in readers:
                reader.put(None)

    async def stopped(self) -> None:
        """Wait until the connection to Prefect is closed, after the last reader has gone."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _listen(self) -> None:
        query = EventFilter(
            event=EventNameFilter(prefix=[PREFIX]),
            resource=EventResourceFilter(id_prefix=[names.task_resource(self._app, "")]),
        )
        is_first = True
        try:
            while True:
                try:
                    async with get_events_subscriber(filter=query) as events:
                        self._ready.set()
                        if not is_first:
                            self._say_lost()
                        is_first = False
                        async for event in events:
                            logged = LoggedEvent.read(event)
                            for resource in (event.resource.id, EVERY_TASK):
                                for reader in self._readers.get(resource, ()):
                                    reader.put(logged)
                except Exception as exc:
                    logger.debug("The live stream of events broke off: %s", exc)
                self._ready.clear()
                await asyncio.sleep(_RECONNECT_PAUSE)
        finally:
            self._ready.clear()

    def _say_lost(self) -> None:
        """Have all readers look for what came while the stream was broken off."""
        for readers in self._readers.values():
            for reader in readers:
                reader.lost = True
