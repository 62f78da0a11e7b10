"""Which process on which host: how a run names its worker, and how others see that it is gone."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

import psutil


@cache
def host() -> str:
    """Identify this host, this boot and, in a container, this set of process ids."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    except OSError:
        parts.append(str(int(psutil.boot_time())))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]


@cache
def _start(pid: int) -> str:
    return f"{psutil.Process(pid).create_time():.2f}"


def process() -> str:
    """Identify this process: `host:pid:start`. A later process with the same pid differs."""
    pid = os.getpid()
    return f"{host()}:{pid}:{_start(pid)}"


def is_gone(identity: str) -> bool | None:
    """Tell whether a process has ended; None if it is on another host, so that we cannot see it."""
    try:
        where, pid, start = identity.split(":")
        number = int(pid)
    except ValueError:
        return None
    if where != host():
        return None
    try:
        candidate = psutil.Process(number)
        if candidate.status() == psutil.STATUS_ZOMBIE:
            return True
        return abs(candidate.create_time() - float(start)) > 1
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return None
