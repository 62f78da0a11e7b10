"""Single keys on the terminal in which an app runs: open its page, pause, reload, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import termios
import tty
import webbrowser
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING

from athanore.errors import AthanoreError

if TYPE_CHECKING:
    from athanore.launch.stopping import Stop
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App

logger = logging.getLogger("athanore")

HINT = "Keys: o opens the board page, p pauses, r takes a changed run.py over, q stops."


@contextlib.contextmanager
def listening(
    actions: Mapping[str, Callable[[], None]], stream: int | None = None
) -> Generator[bool]:
    """Call what belongs to a key while the block runs; Ctrl-C and its like stay what they are.

    The value is False, and nothing is listened to, where there is no terminal of ours.

    Args:
        stream: the terminal; by default standard input.
    """
    fd = _terminal() if stream is None else stream
    if fd is None:
        yield False
        return
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            typed = os.read(fd, 64).decode(errors="replace")
        except OSError:
            typed = ""
        if not typed:  # the terminal is gone
            loop.remove_reader(fd)
        for key in typed:
            if (action := actions.get(key.lower())) is not None:
                action()

    before = termios.tcgetattr(fd)
    tty.setcbreak(fd, termios.TCSAFLUSH)  # what was typed before is not meant
    loop.add_reader(fd, read)
    try:
        yield True
    finally:
        loop.remove_reader(fd)
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _terminal() -> int | None:
    """Standard input, if it is a terminal that is ours, and somebody sees what comes of it."""
    try:
        fd = sys.stdin.fileno()
        ours = os.isatty(fd) and sys.stdout.isatty() and os.tcgetpgrp(fd) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return None
    return fd if ours else None


class Keys:
    """What the keys do. What needs Prefect is done as soon as that is there.

    Args:
        url: the address of the board page.
    """

    def __init__(self, url: str, stop: Stop) -> None:
        self._url = url
        self._stop = stop
        self._app: App | None = None
        self._reload: Callable[[], Awaitable[None]] | None = None
        self._reloading: asyncio.Future[None] | None = None
        self._paused: list[str] = []
        self._is_paused = False
        self._switching: asyncio.Task[None] | None = None
        self._to_pause = False

    async def ready(self, app: App, reload: Callable[[], Awaitable[None]]) -> None:
        """Say that Prefect is there; do what somebody has wanted meanwhile."""
        self._app, self._reload = app, reload
        if self._to_pause:
            await self._pause_or_resume(app)

    @property
    def actions(self) -> dict[str, Callable[[], None]]:
        """What belongs to each key."""
        return {"o": self._open, "p": self._switch, "q": self._stop.by_person, "r": self._renew}

    def _renew(self) -> None:
        if self._reload is None:
            logger.info(
                "Prefect is starting; press r again when it is there.", extra={"action": "starting"}
            )
        elif self._reloading is None or self._reloading.done():
            self._reloading = asyncio.ensure_future(self._reload())

    def _open(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, webbrowser.open, self._url)

    def _switch(self) -> None:
        if self._app is None:
            self._to_pause = not self._to_pause
            logger.info(
                "Prefect is starting; all routes are then %s.",
                "paused, before an agent starts" if self._to_pause else "as they were",
                extra={"action": "starting"},
            )
        elif self._switching is None or self._switching.done():
            self._switching = asyncio.create_task(self._pause_or_resume(self._app))

    async def _pause_or_resume(self, app: App) -> None:
        from athanore.launch.prefect.prefect_server import prefect_errors
        from athanore.runs.connection.telling import telling_client

        try:
            with prefect_errors():
                async with telling_client() as client:
                    await (self._resume if self._is_paused else self._pause)(client, app)
        except AthanoreError as exc:
            logger.warning(
                "%s: %s Press p to try it again.",
                "Not all routes go on" if self._is_paused else "Not all routes are paused",
                exc,
                extra={"action": "keys_failed"},
            )

    async def _pause(self, client: PrefectRunStore, app: App) -> None:
        from athanore.services.routes import pause

        for name in await app.routes.read(client):
            if name not in self._paused:
                await pause(client, app, name)
                self._paused.append(name)
        self._is_paused = True
        logger.info(
            "All routes are paused: no agent starts, running agents finish. p lets them go on.",
            extra={"action": "keys_paused"},
        )

    async def _resume(self, client: PrefectRunStore, app: App) -> None:
        from athanore.services.routes import resume

        while self._paused:
            await resume(client, app, self._paused[-1])
            self._paused.pop()
        self._is_paused = False
        logger.info("All routes go on.", extra={"action": "keys_resumed"})
