"""Running a service until a signal asks it to stop, or to stop and begin anew."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import signal
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from types import FrameType
from typing import Any

from athanore.http_client.proxies import spare_loopback
from athanore.processes import inherited
from athanore.processes.hardening import hide_memory

logger = logging.getLogger("athanore")


class Stop:
    """Asks a service to stop: once gently, twice at once. Usable from a signal handler."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gentle = asyncio.Event()
        self._now = asyncio.Event()
        self._requests = 0
        self._wishes: asyncio.Queue[bool] = asyncio.Queue()
        self._is_again = False

    @property
    def is_requested(self) -> bool:
        """Somebody has asked to stop."""
        return self._requests > 0

    @property
    def is_again(self) -> bool:
        """It is to begin anew when it has stopped."""
        return self._is_again

    def bind(self) -> None:
        """Use the running loop; requests that came before count."""
        self._loop = asyncio.get_running_loop()
        self._apply()

    def request(self) -> None:
        """Ask to stop; a second request cuts the grace period short."""
        self._requests += 1
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._apply)

    def by_person(self) -> None:
        """A person wants it to stop (Ctrl-C, a key); one that was to begin anew stops for good."""
        if self.for_good():
            logger.info("It does not begin anew, but stops.", extra={"action": "stopping"})
            return
        if not self.is_requested:
            logger.info("Stopping ...", extra={"action": "stopping"})
        self.request()

    def request_again(self, *, at_once: bool) -> None:
        """Ask to stop, and to begin anew then; one that stops for good goes on with that."""
        if not self.is_requested:
            self._is_again = True
            self.request()
        if at_once and self._is_again and self._requests == 1:
            self.request()

    def for_good(self) -> bool:
        """Do not begin anew. False if that was not to be."""
        was, self._is_again = self._is_again, False
        return was

    def wish(self, *, at_once: bool) -> None:
        """Tell whoever waits in `wished` that somebody wants it to begin anew."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._wishes.put_nowait, at_once)

    async def wished(self) -> bool:
        """Wait until somebody wants it to begin anew; returns whether at once."""
        return await self._wishes.get()

    def _apply(self) -> None:
        if self._requests >= 1:
            self._gentle.set()
        if self._requests >= 2:
            self._now.set()

    async def requested(self) -> None:
        """Wait for the first request."""
        await self._gentle.wait()

    async def requested_within(self, limit: timedelta) -> bool:
        """Wait for the first request for so long; tell whether it has come."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gentle.wait(), limit.total_seconds())
        return self._gentle.is_set()

    async def at_once(self) -> None:
        """Wait for the second request."""
        await self._now.wait()


AGAIN, AGAIN_AT_ONCE = signal.SIGUSR1, signal.SIGUSR2
"""What asks a service to begin anew: when its agents have finished, or at once."""


def in_foreground(
    service: Callable[[Stop], Coroutine[Any, Any, None]], *, may_begin_anew: bool = False
) -> bool:
    """Run a service in an event loop of a thread, and its signals in the main thread.

    Returns whether it is to begin anew.

    Prefect's engine takes SIGTERM over while a flow runs in the main thread; elsewhere it does not.
    From here on no other program of this user can look into the process.
    """
    inherited.put_right()
    spare_loopback()
    hide_memory()
    stop = Stop()
    errors: list[BaseException] = []

    def target() -> None:
        try:
            asyncio.run(service(stop))
        except BaseException as exc:
            errors.append(exc)

    def on_signal(number: int, _: FrameType | None) -> None:
        if number in (AGAIN, AGAIN_AT_ONCE):
            stop.wish(at_once=number == AGAIN_AT_ONCE)
        else:
            stop.by_person()

    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(target), name="athanore")
    heard = [*inherited.endings(), *((AGAIN, AGAIN_AT_ONCE) if may_begin_anew else ())]
    previous = {s: signal.signal(s, on_signal) for s in heard}
    try:
        thread.start()
        while thread.is_alive():
            # A join without a limit would keep the handlers from running.
            thread.join(timeout=0.5)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if errors:
        raise errors[0]
    if stop.is_requested and not stop.is_again:
        logger.info("Stopped.", extra={"action": "stopped"})
    return stop.is_again
