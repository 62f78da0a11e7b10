"""The lease on this process's starts: until when its agents may live, as Prefect acknowledged it.

Others take a worker for lost when its heartbeat has not changed for `worker_lost_after`. The worker
counts from the *sending* of the last heartbeat that Prefect acknowledged, so its own time is over
first, whatever kind of silence it is: errors, packets that vanish, or a process that stood still.
A renewal also reads the worker's runs, so that it hears of what others did to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from athanore.processes.family import GRACE, steady
from athanore.processes.supervisor import default_reaper

logger = logging.getLogger("athanore.worker")


class Terms(NamedTuple):
    """What `worker_lost_after` means for a worker, in seconds.

    Attributes:
        stop_after: after so much silence the agents are told to end,
        kill_after: and after so much nothing of them is left alive.
        renew_every: the time between two renewals.
        patience: how long a renewal may take; then it is tried anew on a new connection.
    """

    stop_after: float
    kill_after: float
    renew_every: float
    patience: float

    @classmethod
    def of(cls, lost_after: timedelta) -> Terms:
        """The terms under which others start no agent before all of ours are dead."""
        seconds = lost_after.total_seconds()
        kill_after = seconds - min(3.0, seconds / 5)
        stop_after = kill_after - min(GRACE + 2, seconds / 4)
        return cls(stop_after, kill_after, min(5.0, seconds / 12), min(15.0, seconds / 6))


class Lease:
    """Until when agents may live. `close` it in the end.

    Args:
        lost_after: the silence after which others take this process for lost.
        steady: a clock that goes on while the machine sleeps.
    """

    def __init__(self, lost_after: timedelta, steady: Callable[[], float] = steady) -> None:
        self.terms = Terms.of(lost_after)
        self._steady = steady
        self._sent: float | None = None
        self._lapses = 0
        self._renewed = asyncio.Event()

    @property
    def until(self) -> float | None:
        """When it is over, by its clock; None before it is held for the first time."""
        return None if self._sent is None else self._sent + self.terms.stop_after

    @property
    def is_held(self) -> bool:
        """True while agents may be at work."""
        return self.until is not None and self._steady() < self.until

    @property
    def is_over(self) -> bool:
        """True when it was held, and is no longer."""
        return self.until is not None and not self.is_held

    @property
    def lapses(self) -> int:
        """How often it has been over so far."""
        return self._lapses + self.is_over

    def renew(self, sent: float) -> None:
        """Note that Prefect has acknowledged what was sent at a time of the clock."""
        if self._sent is None or sent > self._sent:
            if self.until is not None and sent >= self.until:
                self._lapses += 1
            self._sent = sent
            default_reaper().lease(self, sent + self.terms.kill_after)
        self._renewed.set()

    async def held(self) -> None:
        """Wait until agents may be started: at the beginning, and after a silence."""
        while not self.is_held:
            self._renewed.clear()
            await self._renewed.wait()

    def close(self) -> None:
        """End the lease of a process that has no agents any more."""
        default_reaper().lease(self, None)
