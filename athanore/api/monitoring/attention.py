"""What waits for a person, read at most every 15 seconds however many ask."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic

from athanore.api.prefect.link import PrefectLink
from athanore.runtime.apps import App
from athanore.services import dead_letters
from athanore.services.showing.views import NeedsPerson
from athanore.services.status.machinery import look_at_machinery
from athanore.services.status.needs_person import needs_person, of_matches

_FRESH = timedelta(seconds=15)


class Attention:
    """Reads what waits for a person, for all who show it."""

    def __init__(self, app: App, prefect: PrefectLink) -> None:
        self._app = app
        self._prefect = prefect
        self._lock = asyncio.Lock()
        self._found: list[NeedsPerson] = []
        self._read_at: float | None = None

    async def read(self) -> list[NeedsPerson]:
        """Return what waited for a person at most 15 seconds ago.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
            BoardError: the board cannot be read.
        """
        async with self._lock:
            if self._read_at is None or monotonic() - self._read_at > _FRESH.total_seconds():
                self._found = await self._read()
                self._read_at = monotonic()
            return self._found

    async def _read(self) -> list[NeedsPerson]:
        app = self._app
        picture = await app.view.read(_FRESH.total_seconds())
        async with self._prefect.client() as client:
            routes = await app.routes.read(client)
            machinery = await look_at_machinery(client, app, routes)
            places = dead_letters.places(routes)
            resting = [t for t in picture.tasks if t.queue_name in places]
            at_rest = await dead_letters.idle(client, app, resting)
            held = await of_matches(client, app, routes, picture.tasks)
        return await needs_person(app, routes, machinery, at_rest, held)
