"""The end of an app in the foreground: its agents may finish, and it says what it waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Protocol

from athanore.launch.stopping import Stop
from athanore.texts import cut

logger = logging.getLogger("athanore")

_SAID_EVERY = 5.0
_SHOWN_EVERY = 1.0
_SHOWN_NAMES = 300


@dataclass(slots=True)
class LastLine:
    """A line of the live view that says what the end waits for; empty while nothing ends."""

    text: str = ""


class Worker(Protocol):
    """What a worker can do at its end; see `AthanoreWorker`."""

    @property
    def agents(self) -> Sequence[str]:
        """What the agents that are at work here work on."""
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
    line: LastLine | None = None,
    said_every: float = _SAID_EVERY,
) -> None:
    """End the workers; running agents may finish within a time, unless somebody asks twice.

    Args:
        line: where a live view shows what is waited for, each second; else it is logged, now and
            then.
    """
    if agents := _agents(workers):
        logger.info(
            "%s may finish within %g s (Ctrl-C again: stop now).",
            _count(agents),
            grace.total_seconds(),
            extra={"action": "stopping"},
        )
    drains = asyncio.gather(*(w.drain(grace) for w in workers))
    hurry = asyncio.create_task(stop.at_once())
    waits = _Waits(workers, hurry, monotonic() + grace.total_seconds())
    telling = asyncio.create_task(waits.log(said_every) if line is None else waits.show(line))
    try:
        await asyncio.wait([drains, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not drains.done():
            for worker in workers:
                worker.stop_agents()
            await drains
        for task in started:
            task.cancel()
        await asyncio.wait(started)
    finally:
        telling.cancel()
        hurry.cancel()
        if line is not None:
            line.text = ""


@dataclass(slots=True)
class _Waits:
    """What the end of some workers waits for.

    Attributes:
        hurry: is done when the agents are to be stopped now.
        until: when they are stopped otherwise, by the monotonic clock.
    """

    workers: Sequence[Worker]
    hurry: asyncio.Task[None]
    until: float

    async def show(self, line: LastLine) -> None:
        while True:
            line.text = self._says()
            await asyncio.sleep(_SHOWN_EVERY)

    async def log(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            logger.info("%s", self._says(), extra={"action": "stopping"})

    def _says(self) -> str:
        agents = _agents(self.workers)
        if not agents:
            return "Waiting for polls that are being made, and for Prefect to hear of the end."
        names = cut(", ".join(" ".join(name.split()) for name in agents), _SHOWN_NAMES)
        left = 0 if self.hurry.done() else self.until - monotonic()
        if left <= 0:
            return f"Stopping {_count(agents)}: {names}"
        return f"Waiting for {_count(agents)}, {left:.0f} s more at most: {names}"


def _agents(workers: Sequence[Worker]) -> list[str]:
    return [name for worker in workers for name in worker.agents]


def _count(agents: Sequence[str]) -> str:
    return f"{len(agents)} agent{'' if len(agents) == 1 else 's'}"
