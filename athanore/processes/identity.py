"""Which process on which host: how a run names its worker, and how others see that it is gone."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

import psutil

from athanore.processes import family
from athanore.processes.family import Process


@cache
def host() -> str:
    """Identify this host, this boot and, in a container, this set of process ids."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    except OSError:
        parts.append(str(int(psutil.boot_time())))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]


def of(pid: int) -> str:
    """Identify a living process: `host:pid:start`. A later process with the same pid differs.

    Raises:
        ProcessLookupError: no such process can be seen.
    """
    found = family.look(pid)
    if found is None:
        raise ProcessLookupError(f"there is no process {pid}")
    return f"{host()}:{pid}:{_start(found)}"


def process() -> str:
    """Identify this process."""
    return _own(os.getpid())


@cache
def _own(pid: int) -> str:
    return of(pid)


def is_gone(identity: str) -> bool | None:
    """Tell whether a process has ended; None if that cannot be seen from here.

    It is on another host then, or hidden from us, or we have no descriptor left to look with.
    """
    try:
        where, pid, start = identity.split(":")
        number = int(pid)
    except ValueError:
        return None
    if where != host():
        return None
    try:
        found = family.look(number)
    except OSError:
        return None
    if found is None:
        return None if psutil.pid_exists(number) else True
    return found.dead or _start(found) != start


def _start(found: Process) -> str:
    # Not psutil's create_time(): on Linux that changes whenever somebody sets the clock.
    return f"{found.start:.2f}"
