"""The end of a process: what it still has to tell Prefect, without waiting for one that is away."""

from __future__ import annotations

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


async def send_the_rest(
    services: Sequence[type[QueueService[Any]]] = (), within: timedelta = _WITHIN
) -> int:
    """Send the logs and events that still wait, and let go of what cannot be sent; say how many.

    At the exit of its process Prefect would try each of them for seconds, one after the other, and
    without an end for all.

    Args:
        services: the classes whose items are sent; by default Prefect's logs and events.
        within: for how long each of them is waited for.

    Returns:
        How many items were let go.
    """
    from prefect._internal.concurrency import services as prefect_services
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    left = 0
    for kind in services or (APILogWorker, EventsWorker):
        sent = kind.drain_all(timeout=within.total_seconds())
        if inspect.isawaitable(sent):
            await sent
        for service in list(prefect_services._active_services):  # pyright: ignore[reportPrivateUsage]
            if isinstance(service, kind):
                left += _let_go(service._queue)  # pyright: ignore[reportPrivateUsage]
    if left:
        logger.warning(
            "Prefect has not taken the last %s log lines and events; they are lost.",
            left,
            extra={"action": "unsent"},
        )
    return left


def _let_go(waiting: queue.Queue[Any]) -> int:
    count = 0
    try:
        while True:
            # None is Prefect's word for the end.
            count += waiting.get_nowait() is not None
    except queue.Empty:
        waiting.put_nowait(None)
    return count
