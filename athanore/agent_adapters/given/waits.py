"""The time in which an agent waits for a person: its attempt's own time stands still meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from time import monotonic


class Waits:
    """How long one attempt has waited for people so far."""

    def __init__(self, timer: Callable[[], float] = monotonic) -> None:
        self._timer = timer
        self._before = 0.0
        self._since: float | None = None
        self._open = 0
        self._listeners: list[Callable[[], None]] = []
        self._told = asyncio.Event()
        self._waits_elsewhere = False

    @property
    def is_waiting(self) -> bool:
        """True while the agent waits."""
        return self._open > 0

    def seconds(self) -> float:
        """How long it has waited, up to now."""
        return self._before + (0.0 if self._since is None else self._timer() - self._since)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Count the time of the block; of several at once it counts once."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    def elsewhere(self, waits: bool) -> None:
        """Take what another process tells: whether the agent waits there."""
        if waits != self._waits_elsewhere:
            self._waits_elsewhere = waits
            (self._begin if waits else self._end)()

    def _begin(self) -> None:
        self._open += 1
        if self._since is None:
            self._since = self._timer()
            self._changed()

    def _end(self) -> None:
        self._open -= 1
        if not self._open:
            self._before, self._since = self.seconds(), None
            self._changed()

    @contextmanager
    def heard_by(self, listener: Callable[[], None]) -> Generator[None]:
        """Call a function whenever the waiting begins or ends."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener()

    def tell(self) -> None:
        """Have who waits here look whether there is an answer."""
        told, self._told = self._told, asyncio.Event()
        told.set()

    async def until_told(self, seconds: float) -> None:
        """Wait until somebody tells, but at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()


class TimeLimit:
    """How long an attempt may still take, without the time in which it waits for people."""

    def __init__(self, limit: timedelta | None, waits: Waits) -> None:
        self._waits = waits
        self._until = math.inf if limit is None else monotonic() + limit.total_seconds()
        self._before = waits.seconds()

    def left(self) -> float:
        """Seconds; infinite while the agent waits, or if there is no limit."""
        if self._waits.is_waiting:
            return math.inf
        return self._until + self._waits.seconds() - self._before - monotonic()

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[asyncio.Timeout]:
        """As `asyncio.timeout`, for the block.

        Raises:
            TimeoutError: no time is left.
        """
        loop = asyncio.get_running_loop()
        timer = asyncio.timeout(None)

        def adjust() -> None:
            left = self.left()
            with suppress(RuntimeError):  # it is over already
                timer.reschedule(None if math.isinf(left) else loop.time() + left)

        async with timer:
            with self._waits.heard_by(adjust):
                adjust()
                yield timer

    async def over(self) -> None:
        """Return when no time is left."""
        with suppress(TimeoutError):
            async with self.kept():
                await asyncio.Event().wait()
