"""The end of an app in the foreground: its agents may finish, and it says what it waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from typing import Protocol

from athanore.launch.stopping import Stop

logger = logging.getLogger("athanore")

_SAID_EVERY = 5.0


class Worker(Protocol):
    """What a worker can do at its end; see `AthanoreWorker`."""

    @property
    def agent_count(self) -> int:
        """How many agents are at work here."""
        ...

    async def drain(self, grace: timedelta) -> None:
        """Take no more work, and wait for the agents."""
        ...

    def stop_agents(self) -> None:
        """Cut the grace period short."""
        ...


async def shut_down(
    workers: Sequence[Worker],
    started: list[asyncio.Task[None]],
    stop: Stop,
    grace: timedelta,
    said_every: float = _SAID_EVERY,
) -> None:
    """End the workers; running agents may finish within a time, unless somebody asks twice."""
    if count := _agents(workers):
        logger.info(
            "%s may finish within %g s (Ctrl-C again: stop now).",
            count,
            grace.total_seconds(),
            extra={"action": "stopping"},
        )
    drains = asyncio.gather(*(w.drain(grace) for w in workers))
    hurry = asyncio.create_task(stop.at_once())
    telling = asyncio.create_task(_tell(workers, grace, said_every))
    try:
        await asyncio.wait([drains, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not drains.done():
            for worker in workers:
                worker.stop_agents()
            await drains
    finally:
        telling.cancel()
        hurry.cancel()
    for task in started:
        task.cancel()
    await asyncio.wait(started)


async def _tell(workers: Sequence[Worker], grace: timedelta, said_every: float) -> None:
    began = monotonic()
    while True:
        await asyncio.sleep(said_every)
        left = grace.total_seconds() - (monotonic() - began)
        if (count := _agents(workers)) and left > 0:
            logger.info(
                "Waiting for %s, %.0f s more at most.", count, left, extra={"action": "stopping"}
            )
        elif count:
            logger.info("Stopping %s.", count, extra={"action": "stopping"})


def _agents(workers: Sequence[Worker]) -> str:
    count = sum(w.agent_count for w in workers)
    return f"{count} agent{'' if count == 1 else 's'}" if count else ""
