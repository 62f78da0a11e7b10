"""Routes that were deleted while agents of them worked: they go when these are done.

What a server that is stopped leaves over, the next one or the next deploy finishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from athanore.api.prefect.link import PrefectLink
from athanore.deployments.live import finish_removal, leaving_routes
from athanore.errors import PrefectUnavailableError
from athanore.runtime.apps import App
from athanore.runtime.background import kept_up

logger = logging.getLogger("athanore.api")

_LOOK_EVERY = 2.0


class Removals:
    """Finishes removals, one task for each route. Use as an async context manager."""

    def __init__(self, app: App, prefect: PrefectLink) -> None:
        self._app = app
        self._prefect = prefect
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Removals:
        if self._app.routes.is_open:
            self._begin("", self._take_up)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def see_to(self, route: str) -> None:
        """Finish the removal of a route as soon as its agents are done."""
        if route not in self._tasks:
            self._begin(route, partial(self._finish, route))

    def _begin(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        what = f"The removal of route {key!r}" if key else "The look for routes to be removed"
        task = asyncio.create_task(kept_up(what, work), name=what)
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _take_up(self) -> None:
        """Go on with what an earlier server left over."""
        async with self._prefect.client() as client:
            left = await leaving_routes(client, self._app)
        for route in left:
            self.see_to(route)

    async def _finish(self, route: str) -> None:
        done = False
        while not done:
            await asyncio.sleep(_LOOK_EVERY)
            with contextlib.suppress(PrefectUnavailableError):
                async with self._prefect.client() as client:
                    done = await finish_removal(client, self._app, route)
        logger.info("Route %r is removed.", route, extra={"action": "route_removed"})
