"""The end of a process: what it still has to tell Prefect, without waiting for one that is away."""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect._internal.concurrency.services import QueueService

logger = logging.getLogger("athanore")

_WITHIN = timedelta(seconds=5)
_SOON = 1.0
"""Seconds after which it is said what is waited for."""
_TRIES, _PAUSE = 5, 0.2


async def send_the_rest(
    services: Sequence[type[QueueService[Any]]] = (), within: timedelta = _WITHIN
) -> int:
    """Send the logs and events that still wait, and let go of what cannot be sent; say how many.

    At the exit of its process Prefect would try each of them for seconds, one after the other, and
    without an end for all; where the server hangs it would wait for minutes for the one that is
    being sent.

    Args:
        services: the classes whose items are sent; by default Prefect's logs and events.
        within: for how long they are waited for.

    Returns:
        How many items were let go, without those that were being sent.
    """
    from prefect._internal.concurrency import services as prefect_services
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    kinds = tuple(services) or (APILogWorker, EventsWorker)
    active = list(prefect_services._active_services)  # pyright: ignore[reportPrivateUsage]
    ours = [s for s in active if isinstance(s, kinds)]
    # Not by `drain_all`, which leaves out those that are being drained already.
    drains = [asyncio.ensure_future(d) for s in ours if inspect.isawaitable(d := s.drain())]
    if drains:
        await _wait(drains, within.total_seconds())
    left = sum(_let_go(service._queue) for service in ours)  # pyright: ignore[reportPrivateUsage]
    await asyncio.gather(*(_end(service) for service in ours))
    if left:
        logger.warning(
            "Prefect has not taken the last %s log lines and events; they are lost.",
            left,
            extra={"action": "unsent"},
        )
    return left


async def _wait(drains: Sequence[asyncio.Future[Any]], seconds: float) -> None:
    soon = min(_SOON, seconds)
    _, late = await asyncio.wait(drains, timeout=soon)
    if late and seconds > soon:
        logger.info(
            "Waiting for Prefect to take the last log lines and events, %.0f s more at most.",
            seconds - soon,
            extra={"action": "stopping"},
        )
        await asyncio.wait(late, timeout=seconds - soon)


async def _end(service: QueueService[Any]) -> None:
    """End what it is sending; again and again, for it then waits for its connection to close."""
    loop = service._loop  # pyright: ignore[reportPrivateUsage]
    for _ in range(_TRIES):
        tasks = set[asyncio.Task[Any]]() if loop is None else asyncio.all_tasks(loop)
        working = [task for task in tasks if _is_of(service, task.get_coro())]
        if loop is None or not working:
            return
        for task in working:
            loop.call_soon_threadsafe(task.cancel)
        await asyncio.sleep(_PAUSE)


def _is_of(service: QueueService[Any], coroutine: object) -> bool:
    """Whether it is the coroutine in which a service works; the service itself forgets its task."""
    return (
        inspect.iscoroutine(coroutine)
        and inspect.getcoroutinelocals(coroutine).get("self") is service
    )


def _let_go(waiting: queue.Queue[Any]) -> int:
    count = 0
    try:
        while True:
            # None is Prefect's word for the end.
            count += waiting.get_nowait() is not None
    except queue.Empty:
        waiting.put_nowait(None)
    return count
