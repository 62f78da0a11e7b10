"""Beginning anew: the agents finish or are stopped, and the process runs its command once more.

So it keeps its number, its terminal and whoever started it (systemd, a container, nohup), and has
the code and the Athanore that are installed now. Before anything stops, another process with the
same environment looks whether the code can be started.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from typing import NoReturn

import psutil

from athanore.api.security.binding import check_binding
from athanore.errors import AthanoreError, BoardUnavailableError
from athanore.launch.inspection.checks import check_app
from athanore.launch.serving import Note
from athanore.launch.stopping import Stop
from athanore.processes import inherited
from athanore.processes.family import bare_environment
from athanore.processes.hardening import DEBUGGABLE
from athanore.routing.scripts import code_file

logger = logging.getLogger("athanore")

_BEGAN = "_ATHANORE_BEGAN_ANEW"
_PATIENCE = 120.0
_REFUSED = 3
_SHOWN = 1000


class Restarter:
    """Does what is to be done when somebody wants an app to begin anew."""

    def __init__(self, reference: str, stop: Stop, note: Note) -> None:
        self._reference = reference
        self._stop = stop
        self._note = note

    async def watch(self) -> None:
        """Wait for wishes, until cancelled."""
        while True:
            at_once = await self._stop.wished()
            if not self._stop.is_requested:
                if (why := await self._refusal()) is not None:
                    logger.error(
                        "It does not begin anew, and goes on as it is: %s",
                        why,
                        extra={"action": "restart_refused"},
                    )
                    self._note.refuse(why)
                    continue
                logger.info("Stopping, to begin anew ...", extra={"action": "restarting"})
            self._stop.request_again(at_once=at_once)

    async def _refusal(self) -> str | None:
        """Why the app could not be started as it is now; None if nothing is known."""
        if _is_script_lost():
            return f"{sys.argv[0]!r} is not found in {os.getcwd()}."
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _LOOK,
            self._reference,
            env=bare_environment() | {DEBUGGABLE: os.environ.get(DEBUGGABLE, "")},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        ours = json.dumps(dict(os.environ)).encode()
        try:
            async with asyncio.timeout(_PATIENCE):
                _, said = await process.communicate(ours)
        except TimeoutError:
            return f"importing the code takes more than {_PATIENCE:g} s."
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode == 0:
            return None
        text = said.decode(errors="replace").strip()
        last = text if process.returncode == _REFUSED else text.rpartition("\n")[2]
        return last[-_SHOWN:] or f"importing the code ends with exit code {process.returncode}."


def _is_script_lost() -> bool:
    """Whether what this process runs is no more where it was, or the process has gone elsewhere."""
    return sys.argv[0] not in ("", "-c") and not os.path.exists(sys.argv[0])


_LOOK = """
from athanore.processes.hardening import hide_memory
hide_memory()
import json, os, sys
os.environ.update(json.load(sys.stdin))
from athanore.launch.renewal.restarting import look
look(sys.argv[1])
"""
"""Our environment comes by its standard input: agents could read what a process begins with."""


def look(reference: str) -> None:
    """Exit with 3, and why, if an app cannot be started as it is. A board may be away."""
    from athanore.launch.renewal.code import explained
    from athanore.runtime import apps

    file = code_file(reference)
    try:
        dispatcher = apps.load(reference)
        check_binding(dispatcher.settings, dispatcher.settings.api_host)
        check_app(dispatcher, reference)
    except BoardUnavailableError:
        return
    except AthanoreError as exc:
        _refuse(str(exc))
    except Exception as exc:
        _refuse(explained(exc, file))


def _refuse(why: str) -> NoReturn:
    sys.stderr.write(" ".join(why.split()))
    raise SystemExit(_REFUSED)


def begin_anew() -> NoReturn:
    """Run the command of this process once more, in its place."""
    sys.stdout.flush()
    sys.stderr.flush()
    inherited.give_back_limits(os.getpid())
    os.environ[_BEGAN] = str(time.time())
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def began_at() -> float:
    """When this process began, for the first time or anew, in seconds since 1970."""
    return float(os.environ.pop(_BEGAN, 0)) or psutil.Process().create_time()
