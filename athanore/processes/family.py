"""Find and stop all processes of an agent.

All processes of one agent are its *family*. A process belongs to it that carries the family's mark
in its environment, is in the session or process group of the family's leader, or descends from one
that does. So it is found though it forked, was daemonised or started a session of its own. What
escapes is a process that cleared its environment, started a session *and* lost its parent; and not
even that, where the family has a control group of the kernel (`cgroup`).

The mark is also the durable record of who started a process: it names the worker by pid and start
time, so that a later worker finds the agents of one that is gone, without any file.

The reaper imports this module and may not load Athanore: the standard library only, and psutil
where there is no /proc.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import time
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from athanore.processes import cgroup

MARK = "ATHANORE_PROCESS_MARK"
"""The environment variable that all processes of an agent inherit."""

GRACE = 5.0
"""Seconds between TERM and KILL."""

KILL_PATIENCE = 5.0  # seconds after which a process that KILL does not end is given up

HAS_PROC = os.path.exists("/proc/self/stat")
_MARK_ENTRY = re.compile(rb"(?:^|\0)" + MARK.encode() + rb"=([^\0]*)")


_BARE = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")


def bare_environment() -> dict[str, str]:
    """What a Python needs to start, and nothing else: no secret is handed on with it."""
    return {name: os.environ[name] for name in _BARE if name in os.environ}


class Process(NamedTuple):
    """One process as it was seen; `start` (ticks or seconds) tells it from a later one."""

    pid: int
    parent: int
    group: int
    session: int
    start: float
    dead: bool


@dataclass(frozen=True, slots=True)
class Family:
    """All processes of one agent.

    `mark` is unique and stands in their environment. `pid` and `start` are those of the leader, 0
    until it is known. No member is older than `since`, the start of the worker. A `leased` one may
    live no longer than its worker's lease. `group` is the folder of its control group, or "".
    """

    mark: str
    since: float
    pid: int = 0
    start: float = 0
    leased: bool = False
    group: str = ""

    @classmethod
    def new(cls, *, leased: bool = False) -> Family:
        """A family that nobody belongs to yet; start its leader with `env` added."""
        me = _glance(os.getpid())
        since = me.start if me else 0
        mark = f"{_namespace()}_{os.getpid()}_{since}_{uuid.uuid4().hex}"
        return cls(mark, since, leased=leased)

    @property
    def env(self) -> dict[str, str]:
        """What the environment of the leader must hold."""
        return {MARK: self.mark}

    def led_by(self, pid: int) -> Family:
        """The same family with the leader that was started; without one if it is gone."""
        leader = _glance(pid)
        return replace(self, pid=pid, start=leader.start) if leader else self

    def grouped(self) -> Family:
        """The same family with its leader in a control group, where there may be one.

        What the leader starts from now on is in it; what it has started before is found as ever.
        """
        if not self.pid:
            return self
        group = self.group or cgroup.create(self.mark)
        if group and not cgroup.enter(group, self.pid):
            cgroup.remove(group)
            group = ""
        return replace(self, group=group)


def snapshot() -> dict[int, Process]:
    """Return all processes of this host that can be seen, by pid.

    Raises:
        OSError: no descriptor is left to look with; nobody knows what is there.
    """
    if HAS_PROC:
        pids: Iterable[int] = (int(name) for name in os.listdir("/proc") if name.isdigit())
    else:
        import psutil

        pids = psutil.pids()
    return {pid: process for pid in pids if (process := look(pid))}


def find(families: Collection[Family]) -> list[Process]:
    """Return the living processes of the families; never the caller itself.

    Raises:
        OSError: as `snapshot`.
    """
    seen = snapshot()
    marks = {family.mark for family in families}
    since = min((family.since for family in families), default=0)
    # The kernel keeps a pid while its session or group has members: a leader's pid with another
    # start time means that the family is gone and the number was given to a stranger.
    leaders = {
        family.pid
        for family in families
        if family.pid and (family.pid not in seen or seen[family.pid].start == family.start)
    }
    members = {
        p.pid
        for p in seen.values()
        if not leaders.isdisjoint((p.pid, p.group, p.session))
        or (p.start >= since and _mark_of(p.pid) in marks)
    }
    for family in families:
        if family.group:
            members |= cgroup.members(family.group) & seen.keys()
    if members:
        members |= _descendants(members, seen)
    return [seen[pid] for pid in members if pid != os.getpid() and not seen[pid].dead]


def orphans() -> list[Family]:
    """Return the families whose worker has died, as far as they live on this host.

    Not the one that the caller is in: whoever works in a dead worker's agent may go on.
    """
    seen = snapshot()
    own = os.environ.get(MARK)
    found: dict[str, Family] = {}
    for process in seen.values():
        mark = _mark_of(process.pid)
        namespace, _, owner = mark.partition("_")
        # A container's pids mean nothing outside of it, and the other way round.
        if process.dead or mark in found or mark == own or namespace != _namespace():
            continue
        if (since := _left_by_dead(owner, seen)) is not None:
            found[mark] = Family(mark, since)
    for mark, group in cgroup.left_over().items():
        namespace, _, owner = mark.partition("_")
        if mark == own or namespace != _namespace():
            continue
        if (since := _left_by_dead(owner, seen)) is None:
            continue
        if mark in found or cgroup.members(group):
            found[mark] = Family(mark, since, group=group)
        else:
            cgroup.remove(group)
    return list(found.values())


def _left_by_dead(owner: str, seen: dict[int, Process]) -> float | None:
    """The start of the worker that a mark names, if that is gone; else None."""
    with contextlib.suppress(ValueError):  # a mark that somebody else made up
        pid, since, _ = owner.split("_")
        worker = seen.get(int(pid))
        if worker is None or worker.dead or worker.start != float(since):
            return float(since)
    return None


class Stopping:
    """Ends families step by step: TERM to every process, `grace` seconds, KILL.

    Call `step` and wait as long as it says, until it returns None. `left` then holds what could not
    be ended: processes of other users, or stuck in the kernel. `blind` is True if that is unknown,
    because no descriptor was left to look with.
    """

    def __init__(self, families: Collection[Family], grace: float = GRACE) -> None:
        self.left: list[Process] = []
        self.blind = False
        self._families = families
        self._groups = [family.group for family in families if family.group]
        self._deadline = time.monotonic() + grace
        self._told: set[tuple[int, float]] = set()
        self._seen: set[tuple[int, float]] = set()
        self._pause = 0.01

    def step(self) -> float | None:
        """Look, signal, and return the seconds until the next step; None at the end."""
        overdue = time.monotonic() - self._deadline
        try:
            self.left = find(self._families)
            self.blind = False
        except OSError:  # a descriptor may come free
            self.blind = True
            return None if overdue > KILL_PATIENCE else 0.1
        self._seen.update((process.pid, process.start) for process in self.left)
        if not self.left or overdue > KILL_PATIENCE:
            self._reap()
            for group in self._groups:
                cgroup.remove(group)
            return None
        if overdue >= 0:
            for group in self._groups:
                cgroup.kill(group)
        for process in self.left:
            if overdue >= 0:
                _signal(process, signal.SIGKILL)
            elif (process.pid, process.start) not in self._told:
                _signal(process, signal.SIGTERM)
                self._told.add((process.pid, process.start))
        self._pause = min(self._pause * 2, 0.25)
        return self._pause if overdue >= 0 else min(self._pause, -overdue)

    def _reap(self) -> None:
        leaders = {family.pid for family in self._families}
        if 0 in leaders:  # unknown: whoever started it will wait for it
            leaders |= {pid for pid, _ in self._seen}
        with contextlib.suppress(OSError):
            reap_adopted({(pid, start) for pid, start in self._seen if pid not in leaders})


def reap_adopted(strangers: Collection[tuple[int, float]]) -> None:
    """Wait for dead children that we did not start: as pid 1 we get those whose parents died.

    By pid, and never for any child: somebody would miss the exit code of his own. A child of ours
    is in our session or leads its own, so one in another session is adopted.

    Args:
        strangers: pids and starts of processes that we certainly did not start.
    """
    ours = os.getsid(0)
    for process in snapshot().values():
        if not process.dead or process.parent != os.getpid():
            continue
        adopted = process.session not in (ours, process.pid)
        if adopted or (process.pid, process.start) in strangers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, number)


def _descendants(roots: Collection[int], seen: dict[int, Process]) -> set[int]:
    children: dict[int, list[int]] = {}
    for process in seen.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        new = [pid for pid in children.get(todo.pop(), ()) if pid not in found]
        found.update(new)
        todo += new
    return found


def _glance(pid: int) -> Process | None:
    with contextlib.suppress(OSError):
        return look(pid)


def look(pid: int) -> Process | None:
    """Return a process as it is now, or None if it is gone or hidden."""
    if not HAS_PROC:
        return _look_with_psutil(pid)
    try:
        # proc(5): the name in parentheses may hold anything, so count from its end.
        fields = read_file(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
    except OSError as error:
        return _unless_blind(error)
    state, parent, group, session = fields[:4]
    # A process whose first thread has ended is shown as a zombie while its others go on.
    dead = state in (b"Z", b"X") and int(fields[17]) <= 1
    return Process(pid, int(parent), int(group), int(session), float(fields[19]), dead)


def _look_with_psutil(pid: int) -> Process | None:
    import psutil

    try:
        process = psutil.Process(pid)
        dead = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        parent, start = process.ppid(), process.create_time()
        return Process(pid, parent, os.getpgid(pid), os.getsid(pid), start, dead)
    except (psutil.Error, OSError) as error:
        return _unless_blind(error)


def _mark_of(pid: int) -> str:
    """Return the mark in a process's environment; empty if it has none or hides it."""
    if HAS_PROC:
        try:
            entry = _MARK_ENTRY.search(read_file(f"/proc/{pid}/environ"))
        except OSError as error:
            return _unless_blind(error) or ""
        return entry[1].decode(errors="replace") if entry else ""
    import psutil

    try:
        return psutil.Process(pid).environ().get(MARK, "")
    except (psutil.Error, OSError) as error:
        return _unless_blind(error) or ""


def read_file(path: str) -> bytes:
    """Read a file of /proc: a third of what `open` costs, which is most of a look."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = chunk = os.read(fd, 65536)
        while len(chunk) == 65536:
            data += (chunk := os.read(fd, 65536))
        return data
    finally:
        os.close(fd)


def _unless_blind(error: Exception) -> None:
    """Take a failed look for a process that is gone or hidden, unless we could not look at all."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise error


def _namespace() -> str:
    """Name the set of processes in which our pids are valid."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def steady() -> float:
    """Seconds that go on while the machine sleeps, and that nobody can set."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
