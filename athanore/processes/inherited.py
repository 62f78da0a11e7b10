"""State that a process has from its launcher and cannot work with, put right at its start."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from types import FrameType

MOST_DESCRIPTORS = 65536
"""Open files and connections that a process of ours may have, where the hard limit allows it."""

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OTHERS = (signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)
_INHERITED, _ = resource.getrlimit(resource.RLIMIT_NOFILE)


def put_right() -> None:
    """Take signals and open enough files, whatever the launcher left us; in the main thread.

    A launcher that ignores SIGCHLD would have the kernel throw the exit codes of agents away, and
    one that blocks signals would have us never stop. A shell that starts us in the background has
    us ignore SIGINT and SIGQUIT, and agents would inherit that; a handler is not inherited, and of
    SIGINT our own is one. The soft limit of descriptors is 1024 for
    the sake of old programs, and too low for many agents.
    """
    forget_empty_variables()
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
            signal.signal(signal.SIGQUIT, _do_nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_ENDINGS, *_OTHERS))
    if not hasattr(resource, "prlimit"):  # not Linux: agents could not have theirs back
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def forget_empty_variables() -> None:
    """Have a variable of Prefect's that is empty be one that is not set, as ours are.

    Prefect refuses an empty number. Before Prefect is imported: it reads its settings then.
    """
    for name, value in list(os.environ.items()):
        if name.startswith("PREFECT_") and not value.strip():
            del os.environ[name]


def endings() -> list[signal.Signals]:
    """The signals that ask this process to end; SIGHUP only if the launcher hears it (no nohup)."""
    return [s for s in _ENDINGS if s != signal.SIGHUP or signal.getsignal(s) != signal.SIG_IGN]


def give_back_limits(pid: int) -> None:
    """Give a child the limit of descriptors that we had from our launcher, if we raised it.

    Programs that use select(2), or close all that might be open, want the low one.
    """
    if not hasattr(resource, "prlimit"):
        return
    # It may be gone, or have become another user's.
    with contextlib.suppress(OSError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if soft > _INHERITED != resource.RLIM_INFINITY:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_INHERITED, hard))
