"""The process of a Prefect server of our own: started, watched, started again, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from athanore.errors import PrefectUnavailableError
from athanore.processes.family import Family
from athanore.processes.supervisor import default_reaper
from athanore.seen_through import seen_through

logger = logging.getLogger("athanore")

_START_TIMEOUT = 300.0
_STOP_TIMEOUT = 10.0
_SOON = 1.0
"""Seconds after which it is said that the server's end is waited for."""
_SAY_EVERY = 15.0
_LOOK_EVERY = 0.5
_DEATHS = 3
_WITHIN = 120.0
_SERVER_LINE = re.compile(r"[\d:.]+ \| \w+ +\| (?P<message>.+)")


class OwnPrefect:
    """One server process after the other, all at the same address.

    Args:
        url: the address of its API.
        spawn: starts the process, in a session of its own and with these variables added to its
            environment; its stdout is a pipe.
        answers: tells whether the server is ready.
    """

    def __init__(
        self,
        url: str,
        spawn: Callable[[Mapping[str, str]], subprocess.Popen[bytes]],
        answers: Callable[[], Awaitable[bool]],
    ) -> None:
        self.url = url
        self._spawn = spawn
        self._answers = answers
        self._family = Family.new()
        self._process: subprocess.Popen[bytes] | None = None
        self._relay: _Relay | None = None

    async def start(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Start the server, and return when it is ready.

        Args:
            meanwhile: called while it starts.

        Raises:
            PrefectUnavailableError: it ended, or takes too long.
        """
        reaper = default_reaper()  # stops the server should this process be killed
        reaper.watch(self._family)
        self._process = self._spawn(self._family.env)
        reaper.watch(self._family.led_by(self._process.pid))
        self._relay = relay = _Relay(self._process)
        if meanwhile is not None:
            meanwhile()
        await self._until_ready(self._process)
        relay.is_up = True

    async def watch(self) -> None:
        """Start the server again whenever it ends; runs until cancelled.

        Raises:
            PrefectUnavailableError: it ended too often, or does not get ready any more.
        """
        loop = asyncio.get_running_loop()
        deaths: list[float] = []
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self._process is None or self._process.poll() is None:
                continue
            code = self._process.returncode
            deaths = [t for t in deaths if loop.time() - t < _WITHIN] + [loop.time()]
            if len(deaths) >= _DEATHS:
                raise PrefectUnavailableError(
                    f"The Prefect server that Athanore started has ended {_DEATHS} times within "
                    f"{_WITHIN:.0f} s (exit code {code} now); its messages are above."
                )
            logger.error(
                "The Prefect server has ended (exit code %s); starting it again at %s.",
                code,
                self.url,
                extra={"action": "prefect_ended"},
            )
            try:
                await self.start()
            except PrefectUnavailableError:
                if self._process.poll() is None:
                    raise
            else:
                logger.info(
                    "The Prefect server is back at %s.", self.url, extra={"action": "prefect_back"}
                )

    async def stop(self) -> None:
        """Stop the server, however often the caller is cancelled."""
        if self._relay is not None:
            self._relay.is_over = True  # what it is interrupted in is no news
        if self._process is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(_SOON, _say_what_is_awaited)
            try:
                await seen_through(loop.run_in_executor(None, _stop, self._process))
            finally:
                timer.cancel()
        default_reaper().release(self._family)

    async def _until_ready(self, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        started = told = loop.time()
        deadline = started + _START_TIMEOUT
        while not await self._answers():
            if loop.time() - told > _SAY_EVERY:
                told = loop.time()
                logger.info(
                    "The Prefect server is still starting (%.0f s so far).",
                    told - started,
                    extra={"action": "prefect_starting"},
                )
            if process.poll() is not None:
                raise PrefectUnavailableError(
                    f"The Prefect server ended with exit code {process.returncode} while it "
                    "started; its messages are above."
                )
            if loop.time() > deadline:
                raise PrefectUnavailableError(
                    f"The Prefect server did not answer at {urlsplit(self.url).netloc} "
                    f"within {_START_TIMEOUT:.0f} s."
                )
            await asyncio.sleep(0.1)


class _Relay:
    """Logs what the server writes: in our format, and above a live view, until it is to stop.

    Once the server is up, the tracebacks below its messages are for DEBUG: most of them tell of
    SQLite, which was locked for a moment.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.is_up = False
        self.is_over = False
        threading.Thread(target=self._run, name="Prefect server's log", daemon=True).start()

    def _run(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                if self.is_over:
                    logger.debug("Prefect server: %s", text)
                elif head := _SERVER_LINE.match(text):
                    logger.warning(
                        "Prefect server: %s", head["message"], extra={"action": "prefect_said"}
                    )
                else:
                    logger.log(
                        logging.DEBUG if self.is_up else logging.WARNING,
                        "  %s",
                        text,
                        extra={"action": "prefect_said"},
                    )


def _say_what_is_awaited() -> None:
    logger.info(
        "Waiting for the Prefect server to end, %g s more at most.",
        _STOP_TIMEOUT - _SOON,
        extra={"action": "stopping"},
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server's whole group: TERM, a while, KILL."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_TIMEOUT)
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()
