"""Commands about the app that runs here: open its page, stop it, have it begin anew."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Annotated

import psutil
from cyclopts import Parameter

from athanore.cli.at_work import at_work
from athanore.cli.context import AppArgument, app_name
from athanore.cli.output import say
from athanore.errors import ConfigurationError, DispatchError
from athanore.launch.serving import Serving, find_serving
from athanore.launch.stopping import AGAIN, AGAIN_AT_ONCE
from athanore.services.showing.views import Overview

type Now = Annotated[bool, Parameter(name="--now", negative="", help="Do not let agents finish.")]

_LOOK_EVERY = 0.2
_SAID_EVERY = 5.0


def open_(
    app: AppArgument = None,
    /,
    *,
    show: Annotated[
        bool, Parameter(name="--print", negative="", help="Only print the address.")
    ] = False,
) -> None:
    """Open the board page of the app that runs here, in the browser."""
    url = _running(app).url
    say(url)
    if not show:
        import webbrowser

        webbrowser.open(url)


def stop(app: AppArgument = None, /, *, now: Now = False) -> None:
    """Stop the app that runs here, also one without a terminal; its agents may finish first."""
    found = _running(app)
    process = _process(found)
    said = _Said(app, found)
    _signal(process, signal.SIGTERM)
    if now:
        time.sleep(_LOOK_EVERY)
        _signal(process, signal.SIGTERM)
    while _lives(process):
        time.sleep(_LOOK_EVERY)
        said.now_and_then()
    say(f"Stopped the app at {found.url}.")


def restart(app: AppArgument = None, /, *, now: Now = False) -> None:
    """Have the app that runs here begin anew, with the code that is there now.

    Its agents may finish first; with --now they are stopped, and their tasks go back to their
    queues. The process keeps its number and its terminal, and runs its command once more. Code that
    cannot be imported is refused before anything stops.
    """
    found = _running(app)
    process = _process(found)
    if not found.is_ready:
        raise DispatchError(
            f"The app at {found.url} is starting, with the code that was there then. Give the "
            "command again when it is ready, or stop it: athanore stop."
        )
    if not found.restarts:
        raise ConfigurationError(
            f"Process {found.pid} at {found.url} only serves the task API (athanore api). Restart "
            "it where it is started, and the workers with `athanore workers restart`."
        )
    said = _Said(app, found)
    _signal(process, AGAIN_AT_ONCE if now else AGAIN)
    name, is_new = app_name(app), False
    while True:
        time.sleep(_LOOK_EVERY)
        seen = find_serving(name, changed_too=True, starting_too=True)
        if seen is not None and seen.since != found.since:
            if seen.is_ready:
                break
            if not is_new:
                is_new = True
                say("It has stopped, and is starting.")
        elif seen is not None and seen.refusals > found.refusals:
            raise ConfigurationError(
                f"It does not begin anew, and goes on as it is: {seen.refused}"
            )
        if not _lives(process):
            raise DispatchError(
                f"Process {found.pid} has ended, and its output says why. Start the app as you did "
                "before."
            )
        if not is_new:
            said.now_and_then()
    say(f"The app at {seen.url} has begun anew, after {said.seconds:.0f} s.")


class _Said:
    """Says every few seconds what is waited for."""

    def __init__(self, app: str | None, found: Serving) -> None:
        self._app = app
        self._pid = found.pid
        self._began = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def now_and_then(self) -> None:
        if time.monotonic() - self._last >= _SAID_EVERY:
            self._last = time.monotonic()
            say(f"Waiting for process {self._pid}, {self.seconds:.0f} s so far: {self._at_work()}.")

    def _at_work(self) -> str:
        """How many agents work, as the app says; when it says nothing, it is about to end."""
        here = at_work(find_serving(app_name(self._app), changed_too=True))
        seen = here.ask(Overview, "/overview") if here else None
        if seen is None:
            return "it is about to end"
        count = seen.working
        return (
            f"{count} agent{'' if count == 1 else 's'} at work" if count else "it is about to end"
        )


def _running(app: str | None) -> Serving:
    name = app_name(app)
    found = find_serving(name, changed_too=True, starting_too=True)
    if found is None or not found.pid:
        raise ConfigurationError(
            f"{name} does not run on this machine; `athanore up` or `python run.py` starts it."
        )
    return found


def _process(found: Serving) -> psutil.Process:
    """The process that serves an app.

    Raises:
        ConfigurationError: it is another host's, or another user's.
    """
    here = socket.gethostname()
    if found.host not in ("", here):
        raise ConfigurationError(
            f"The app runs on host {found.host!r}, and this is {here!r}: give the command there."
        )
    try:
        return psutil.Process(found.pid)
    except psutil.Error as exc:
        raise ConfigurationError(
            f"The app's process {found.pid} is not seen from here; give the command where it "
            "runs, such as in its container."
        ) from exc


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return
    except PermissionError as exc:
        raise ConfigurationError(
            f"Process {process.pid} is another user's; give the command as that user."
        ) from exc


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
