"""Hearing of runs that a person cancelled, and stopping their agents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

from athanore.flows import control
from athanore.flows.control import StopReason

logger = logging.getLogger("athanore.worker")

_CANCELLING = "prefect.flow-run.Cancelling"
_RUN_PREFIX = "prefect.flow-run."
_LOOK_EVERY = 15.0
_RECONNECT_PAUSE = 2.0


async def watch_cancellations(client: PrefectClient, runs: Callable[[], Collection[UUID]]) -> None:
    """Stop the agents of this worker's runs that become Cancelling; runs until cancelled.

    Prefect's event is heard within a fraction of a second. Because the live stream may miss one,
    the states are looked at every 15 s as well, while there are runs.

    Args:
        runs: tells which runs the worker has.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(_listen(client, runs))
        group.create_task(_look(client, runs))


async def _listen(client: PrefectClient, runs: Callable[[], Collection[UUID]]) -> None:
    query = EventFilter(event=EventNameFilter(name=[_CANCELLING]))
    while True:
        try:
            async with get_events_subscriber(filter=query) as events:
                async for event in events:
                    run_id = UUID(event.resource.id.removeprefix(_RUN_PREFIX))
                    if run_id in runs():
                        await _stop(client, run_id)
        except Exception as exc:
            logger.debug("The stream of cancellations broke off: %s", exc)
        await asyncio.sleep(_RECONNECT_PAUSE)


async def _look(client: PrefectClient, runs: Callable[[], Collection[UUID]]) -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        known = list(runs())
        if not known:
            continue
        try:
            found = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    id=FlowRunFilterId(any_=known),
                    state=FlowRunFilterState(
                        type=FlowRunFilterStateType(any_=[StateType.CANCELLING])
                    ),
                ),
                sort=FlowRunSort.ID_DESC,
                limit=200,
            )
        except Exception as exc:
            logger.debug("Could not look for cancelled runs: %s", exc)
            continue
        for run in found:
            _stop_run(run)


async def _stop(client: PrefectClient, run_id: UUID) -> None:
    try:
        _stop_run(await client.read_flow_run(run_id))
    except Exception as exc:
        logger.debug("Run %s is cancelled; its message could not be read: %s", run_id, exc)
        control.stop(run_id, StopReason.CANCELLED)


def _stop_run(run: FlowRun) -> None:
    state = run.state
    moved = state is not None and state.name == control.MOVED_AWAY_STATE
    control.stop(
        run.id,
        StopReason.MOVED_AWAY if moved else StopReason.CANCELLED,
        (state.message or "") if state else "",
    )
