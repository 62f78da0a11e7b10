"""The reaper: a small program beside each worker that stops the agents of a worker that died.

`supervisor` starts it. It must start fast and may not load Athanore: it imports `family` and
`cgroup`, which import the standard library only, and psutil where there is no /proc.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time
from collections.abc import Collection

from athanore.processes.family import GRACE, Family, Stopping, steady

_OVERDUE_CHECK = 1.0  # seconds between looks for agents whose worker's lease is over
_ORPHAN_CHECK = 2.0  # seconds between looks at the parent, should a fork hold the pipe open
_SPAWN_GAP = 1.0  # seconds in which a process that was being started may still show up

BOOT = (
    "import sys, types; package = types.ModuleType('athanore'); package.__path__ = [sys.argv[2]]; "
    "sys.modules['athanore'] = package; from athanore.processes.reaper import main; main()"
)
"""What Python is told to run: this module, without what `import athanore` would run."""


class _Watched:
    """What the reaper knows: the families that live, and until when leased ones may."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = {}
        self.until = math.inf

    def read(self, line: str) -> None:
        """Take one message: `+ mark since pid start leased group`, `- mark` or `! until`."""
        verb, *words = line.split(" ", 6)
        match verb:
            case "+":
                mark, since, pid, start, leased, group = words
                family = Family(mark, float(since), int(pid), float(start), leased == "1", group)
                self.families[mark] = family
            case "-":
                self.families.pop(words[0], None)
            case _:
                self.until = float(words[0])

    @property
    def overdue(self) -> list[Family]:
        """The families whose time is over."""
        if steady() < self.until:
            return []
        return [family for family in self.families.values() if family.leased]

    @property
    def pause(self) -> float:
        """Seconds until the next look, if no message comes."""
        left = self.until - steady()
        return min(left, _ORPHAN_CHECK) if left > 0 else _OVERDUE_CHECK


def reap_after(worker: int, messages: int = 0) -> None:
    """Read which families live from a pipe; when the worker is gone, end those that are left.

    The end of the pipe means that the worker has died (or has finished: then no family is left).
    Nobody else holds the pipe, unless the worker forked without exec: so its parenthood is looked
    at, too. A worker whose lease is over has its agents killed although it lives: it may be stuck,
    or stand still, while another worker starts others for its tasks.
    """
    watched = _Watched()
    rest = b""
    while True:
        if select.select([messages], [], [], watched.pause)[0]:
            data = os.read(messages, 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                watched.read(line.decode())
        elif os.getppid() != worker:
            break
        if overdue := watched.overdue:
            _end(overdue, 0)
    # A process that was between fork and exec shows its mark only a moment later: look again.
    last_look = time.monotonic() + _SPAWN_GAP
    while watched.families:
        _end(watched.families.values(), GRACE)
        if time.monotonic() > last_look:
            break
        time.sleep(0.1)


def _end(families: Collection[Family], grace: float) -> None:
    stopping = Stopping(families, grace)
    while (pause := stopping.step()) is not None:
        time.sleep(pause)


def main() -> None:
    """Reap after the process whose pid is the first argument."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it outlives the worker, and then ends by itself
    reap_after(int(sys.argv[1]))
