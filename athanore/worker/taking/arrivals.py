"""Hearing of runs that another process has made for this worker's pool."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.states import PrefectState, event_of

logger = logging.getLogger("athanore.worker")

_QUERY = EventFilter(event=EventNameFilter(name=[event_of(PrefectState.SCHEDULED)]))
_RUN_PREFIX = "prefect.flow-run."
_RECONNECT_PAUSE = 2.0


async def watch_arrivals(
    client: PrefectRunStore, pool: str, arrived: Callable[[UUID], None], name: str | None = None
) -> None:
    """Call `arrived` with the id of each run that is scheduled in a pool; runs until cancelled.

    Args:
        name: only of runs that are called so.

    Without it such a run would wait for the worker's next regular look, up to ten seconds. What the
    stream misses is found then.
    """
    while True:
        try:
            pool_resource = f"prefect.work-pool.{(await client.read_work_pool(pool)).id}"
            async with get_events_subscriber(filter=_QUERY) as events:
                async for event in events:
                    # Prefect's stream has no filter for related resources.
                    if name is not None and event.resource.name != name:
                        continue
                    if any(resource.id == pool_resource for resource in event.related):
                        arrived(UUID(event.resource.id.removeprefix(_RUN_PREFIX)))
        except Exception as exc:
            logger.debug("The stream of new runs broke off: %s", exc)
        await asyncio.sleep(_RECONNECT_PAUSE)
