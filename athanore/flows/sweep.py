"""Looking for lost workers by a timer: once for all routes of an app, whatever their polls do."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from athanore.errors import BoardError, BoardUnavailableError, RouteError
from athanore.flows.recovery import Recovery
from athanore.runs import store
from athanore.runtime.apps import App

logger = logging.getLogger("athanore.worker")

_EVERY = 15.0


async def sweep(client: PrefectClient, app: App) -> None:
    """Look after the runs of an app again and again; runs until cancelled.

    A lost worker is noticed after `worker_lost_after` and some seconds, although a route is polled
    every quarter of an hour only.
    """
    every = min(_EVERY, app.dispatcher.settings.worker_lost_after / 8)
    while True:
        await asyncio.sleep(every)
        try:
            await look_once(client, app)
        except Exception:
            logger.exception(
                "The look for lost workers failed; it is made again.",
                extra={"action": "sweep_failed"},
            )


async def look_once(client: PrefectClient, app: App) -> None:
    """Put right all runs of an app whose worker is lost."""
    active = await store.find_runs(client, app.name, (StateType.PENDING, *store.WORKING))
    by_route: dict[str, list[FlowRun]] = defaultdict(list)
    for run in active:
        by_route[store.route_name(run)].append(run)
    for name, of_route in by_route.items():
        try:
            route = await app.routes.find(client, of_route[0].parameters)
            await Recovery(client, app, route, logger).look_for_lost(of_route)
        except BoardUnavailableError as exc:
            logger.debug("Lost workers of %r are seen to when the board is back: %s", app.name, exc)
        except (BoardError, RouteError) as exc:
            logger.error(
                "Runs of %r cannot be looked after: %s",
                name,
                exc,
                extra={"action": "sweep_failed"},
            )
