"""See to it that no process of an agent is left behind: not after a run, not after a kill -9.

`supervise` is all that an adapter needs, whoever spawns the process:

    async with supervise() as agent:
        process = await spawn(env={**job.env, **agent.env})
        agent.led_by(process.pid)
        ...

At the end of the block, however it is left, the agent's whole family is stopped (TERM, five
seconds, KILL; at once if nothing is left) and no cancellation cuts that short. Should the worker
itself be killed, the reaper does the same: one small process per worker, which learns of a family
before its first process exists, and of the worker's death by the end of a pipe. A worker that
starts after both were killed calls `stop_orphans`.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import anyio

from athanore.processes import family as processes
from athanore.processes.family import Family, Stopping
from athanore.processes.inherited import give_back_limits
from athanore.processes.reaper import BOOT

logger = logging.getLogger(__name__)

STOP_GRACE = timedelta(seconds=processes.GRACE)
"""How long an agent that was told to end (TERM) may take before it is killed."""

# One thread for all looks at the process table; the default executor may be full of slow boards.
_scanner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="athanore-processes")


class Reaper:
    """The worker's end of the process that stops the agents of a dead worker.

    Starts the process when it is first needed, and again with all that is known if it is killed.
    Its methods are thread-safe and do not block.
    """

    _MAX_STARTS, _WINDOW = 5, 60.0  # a reaper that cannot live is not started for ever

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._families: dict[str, Family] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._starts: deque[float] = deque(maxlen=self._MAX_STARTS)
        self._leases: dict[int, float] = {}

    @property
    def pid(self) -> int | None:
        """The pid of the process; None while none runs."""
        process = self._process
        return process.pid if process else None

    def watch(self, family: Family) -> None:
        """Have a family stopped if this process dies: once before it is spawned, once with a pid.

        The first call closes the gap in which the worker could die between the two.
        """
        with self._lock:
            self._families[family.mark] = family
            self._send(_message(family))

    def release(self, family: Family) -> None:
        """Forget a family whose processes have ended."""
        with self._lock:
            self._families.pop(family.mark, None)
            if self._process:
                self._send(f"- {family.mark}\n")

    def lease(self, holder: object, until: float | None) -> None:
        """Have all agents killed at a time, even if this process is stuck or stands still.

        Args:
            holder: who says so; of several, the one with most time counts.
            until: seconds of `family.steady`; None ends the holder's lease, and with the last
                one agents may live for as long as this process.
        """
        with self._lock:
            if until is None:
                self._leases.pop(id(holder), None)
            else:
                self._leases[id(holder)] = until
            if self._process:
                self._send(self._until())

    def _until(self) -> str:
        return f"! {max(self._leases.values(), default=math.inf)}\n"

    def close(self) -> None:
        """End the process; it first stops the families that are still watched."""
        with self._lock:
            process, self._process = self._process, None
            if process:
                _close_pipe(process)
        if process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0 if self._families else 1)

    def _send(self, message: str) -> None:
        # Shorter than PIPE_BUF, so it is written as a whole or not at all.
        if self._process and _write(self._process, message):
            return
        self._start()

    def _start(self) -> None:
        process, self._process = self._process, None
        if process:  # it died, or is stuck and does not read
            process.kill()
            _close_pipe(process)
            logger.warning("The reaper died; starting it again.", extra={"action": "reaper_died"})
        now = time.monotonic()
        if len(self._starts) == self._MAX_STARTS and now - self._starts[0] < self._WINDOW:
            return
        self._starts.append(now)
        try:
            self._process = _spawn_reaper(
                self._until() + "".join(map(_message, self._families.values()))
            )
        except OSError as error:
            logger.warning(
                "The reaper cannot be started (%s): agents would survive a kill -9 of the worker.",
                error,
                extra={"action": "reaper_failed"},
            )
            return
        # A daemon thread, one per worker: whichever loop uses the reaper may be gone by then.
        threading.Thread(target=self._mind, args=(self._process,), daemon=True).start()

    def _mind(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        with self._lock:
            if self._process is process and self._families:
                self._start()


@functools.cache
def default_reaper() -> Reaper:
    """The reaper of this process."""
    reaper = Reaper()
    atexit.register(reaper.close)
    return reaper


class Supervised:
    """An agent under supervision: what its process must inherit, and who leads the family."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self.family = Family.new(leased=True)
        reaper.watch(self.family)

    @property
    def env(self) -> dict[str, str]:
        """Variables to add to the environment of the agent's first process."""
        return self.family.env

    def led_by(self, pid: int) -> None:
        """Name the agent's first process, a child of ours that nobody has waited for.

        Its session and process group belong to the agent where it leads them itself; otherwise it,
        its descendants and whatever carries the mark.
        """
        give_back_limits(pid)
        self.family = self.family.led_by(pid).grouped()
        self._reaper.watch(self.family)

    async def stop(self, grace: timedelta = STOP_GRACE) -> None:
        """Stop the whole family now; `supervise` does it at the end of its block."""
        await stop([self.family], grace)


@contextlib.asynccontextmanager
async def supervise(
    grace: timedelta = STOP_GRACE, reaper: Reaper | None = None
) -> AsyncGenerator[Supervised]:
    """Supervise one agent in the block, and leave none of its processes alive after it.

    Args:
        grace: the time between TERM and KILL.
        reaper: another one than the process's own.
    """
    reaper = reaper or default_reaper()
    agent = Supervised(reaper)
    try:
        yield agent
    finally:
        try:
            await agent.stop(grace)
        finally:
            reaper.release(agent.family)


async def stop(families: Collection[Family], grace: timedelta = STOP_GRACE) -> None:
    """Stop families: TERM, `grace`, KILL. Returns when all have ended; at once if none lives.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; everything was stopped first.
    """
    stopping = Stopping(families, grace.total_seconds())
    cancelled = False
    # Two kinds of cancellation: the scope holds off anyio's, which would come again and again, the
    # excepts hold off asyncio's. No task is made here, because `asyncio.run` cancels all tasks.
    with anyio.CancelScope(shield=True):
        while True:
            pause, interrupted = await _step(stopping)
            cancelled |= interrupted
            if pause is None:
                break
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                cancelled = True
    if stopping.left or stopping.blind:
        logger.error(
            "Processes of an agent may be left: %s.",
            "there was no descriptor to look for them" if stopping.blind else stopping.left,
            extra={"action": "agent_not_stopped"},
        )
    if cancelled:
        raise asyncio.CancelledError


async def stop_orphans(grace: timedelta = STOP_GRACE) -> int:
    """Stop the agents on this host whose worker is gone, and return how many there were.

    To be called before the tasks of a lost worker are given to another: its reaper may be at work
    still, or may have been killed as well.
    """
    families = await asyncio.get_running_loop().run_in_executor(_scanner, processes.orphans)
    await stop(families, grace)
    return len(families)


async def _step(stopping: Stopping) -> tuple[float | None, bool]:
    """Take one step in the scanner's thread; also say whether a cancellation came meanwhile."""
    cancelled = False
    try:
        step = asyncio.get_running_loop().run_in_executor(_scanner, stopping.step)
    except RuntimeError:  # the interpreter is ending and starts no more work in threads
        return stopping.step(), False
    while not step.done():
        try:
            await asyncio.wait([step])
        except asyncio.CancelledError:
            cancelled = True
    return step.result(), cancelled


def _spawn_reaper(families: str) -> subprocess.Popen[bytes]:
    # Not by -m, which would import all of Athanore. A session of its own keeps the terminal's
    # Ctrl-C away.
    package = os.path.dirname(os.path.dirname(os.path.abspath(processes.__file__)))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", BOOT, str(os.getpid()), package],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=processes.bare_environment(),  # agents may read it
        bufsize=0,
        start_new_session=True,
    )
    assert process.stdin
    _write(process, families)
    os.set_blocking(process.stdin.fileno(), False)
    return process


def _message(family: Family) -> str:
    said = (family.mark, family.since, family.pid, family.start, int(family.leased), family.group)
    return f"+ {' '.join(map(str, said))}\n"


def _write(process: subprocess.Popen[bytes], message: str) -> bool:
    assert process.stdin
    data = message.encode()
    try:
        return os.write(process.stdin.fileno(), data) == len(data)
    except OSError:  # it is dead (EPIPE), or stuck and its pipe is full (EAGAIN)
        return False


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    with contextlib.suppress(OSError):
        process.stdin.close()
