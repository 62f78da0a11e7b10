"""Hearing at once of runs that a person cancelled or suspended, and stopping their agents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.states import PrefectState, event_of
from athanore.runtime.leases.lease_keeper import KnownRuns, look

logger = logging.getLogger("athanore.worker")

_STATES = (PrefectState.CANCELLING, PrefectState.SUSPENDED, PrefectState.PAUSED)
_EVENTS = [event_of(state) for state in _STATES]
_RUN_PREFIX = "prefect.flow-run."
_RECONNECT_PAUSE = 2.0


async def watch_cancellations(client: PrefectRunStore, runs: Callable[[], KnownRuns]) -> None:
    """Stop the agents of this worker's runs that are cancelled or suspended; runs until cancelled.

    Prefect's event is heard within a fraction of a second. What the live stream misses is found by
    the next renewal of the lease, which reads the runs.

    Args:
        runs: tells which runs the worker has.
    """
    query = EventFilter(event=EventNameFilter(name=_EVENTS))
    while True:
        try:
            async with get_events_subscriber(filter=query) as events:
                async for event in events:
                    run_id = UUID(event.resource.id.removeprefix(_RUN_PREFIX))
                    if (local_runs := runs().get(run_id)) is not None:
                        await look(client, {run_id: local_runs})
        except Exception as exc:
            logger.debug("The stream of cancellations broke off: %s", exc)
        await asyncio.sleep(_RECONNECT_PAUSE)
