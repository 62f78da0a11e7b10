"""What the workers of an app and the runs in their process tell each other.

A run registers here while it works, so that the worker can stop its agent; and whoever creates a
run or frees a slot wakes the worker, so that it need not ask Prefect all the time. Under a stock
Prefect worker nobody listens, and everything still works, only later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore.agent_adapters.given.waits import Waits
from athanore.errors import TaskBusyError

if TYPE_CHECKING:
    from athanore.runs.records.record import Start
    from athanore.runtime.leases.lease import Lease


class StopReason(StrEnum):
    """Why an agent is stopped before it is done."""

    CANCELLED = "cancelled"
    MOVED_AWAY = "moved-away"
    SHUTDOWN = "shutdown"
    STALLED = "stalled"
    TIMED_OUT = "timed-out"
    BUDGET = "budget"
    CUT_OFF = "cut-off"
    SUSPENDED = "suspended"
    ENDED = "ended"
    DELETED = "deleted"
    TAKEN_OVER = "taken-over"


class RunControl:
    """The handle on one agent run of this process.

    Attributes:
        run: what Prefect said of it, with what the flow noted since.
        start: the start of the run that works here, once that is noted in Prefect.
        waits: how long its agent has waited for people.
    """

    def __init__(self, run_id: UUID, task_id: str = "", run: FlowRun | None = None) -> None:
        self.run_id = run_id
        self.task_id = task_id
        self.run = run
        self.start: Start | None = None
        self.waits = Waits()
        self.on_activity: Callable[[], None] | None = None
        self.reason: StopReason | None = None
        self.message = ""
        self._attempt: asyncio.Task[object] | None = None
        self._waiting: asyncio.Task[None] | None = None

    @property
    def at_work(self) -> bool:
        """True from the claim until the agent has ended."""
        return self._attempt is not None

    @property
    def is_heard(self) -> bool:
        """True while what its agent sends counts: it is at work, and nobody has stopped it."""
        return self.at_work and self.reason is None

    @property
    def was_cut_off(self) -> bool:
        """True once the worker has been away for so long that another may have the task."""
        return self.reason is StopReason.CUT_OFF

    async def supervise[T](self, attempt: asyncio.Task[T]) -> T:
        """Await the attempt; `stop` cancels it.

        Raises:
            asyncio.CancelledError: it was stopped (see `reason`), or the caller itself was.
        """
        self._attempt = attempt
        if self.reason is not None:
            attempt.cancel()
        try:
            return await attempt
        finally:
            self._attempt = None

    async def unless_stopped(self, wait: Coroutine[Any, Any, None]) -> None:
        """Wait for something before the agent begins; `stop` ends the waiting."""
        waiting = self._waiting = asyncio.create_task(wait)
        if self.reason is not None:
            waiting.cancel()
        try:
            await asyncio.wait([waiting])
        finally:
            waiting.cancel()
            self._waiting = None

    def stop(self, reason: StopReason, message: str = "") -> None:
        """Stop the agent; the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self.message = message
            for task in (self._attempt, self._waiting):
                if task is not None:
                    task.cancel()


class Holding(NamedTuple):
    """Which worker of this process, as Prefect names it, has a run, and under which lease."""

    worker: str
    lease: Lease | None


class LocalRuns:
    """The runs of one app in this process, and who listens to them.

    Args:
        monotonic: a clock in seconds, for how long ago something was.
    """

    def __init__(self, monotonic: Callable[[], float] = monotonic) -> None:
        self._monotonic = monotonic
        self._running: dict[UUID, RunControl] = {}
        self._held: dict[UUID, Holding] = {}
        self._stopped_early: dict[UUID, tuple[StopReason, str]] = {}
        self._wakers: list[Callable[[datetime | None], None]] = []
        self._start_listeners: list[Callable[[UUID], None]] = []
        self._apis = 0
        self._outages = 0
        self._back_at: float | None = None

    # -- runs at work -------------------------------------------------------------------------

    @contextmanager
    def controlled(
        self, run_id: UUID, task_id: str, run: FlowRun | None = None
    ) -> Generator[RunControl]:
        """Register a run for as long as its flow works."""
        control = RunControl(run_id, task_id, run)
        self._running[run_id] = control
        if early := self._stopped_early.pop(run_id, None):
            control.stop(*early)
        try:
            yield control
        finally:
            self._running.pop(run_id, None)

    def stop(self, run_id: UUID, reason: StopReason, message: str = "") -> None:
        """Stop the agent of a run, now or as soon as the run gets that far."""
        if control := self._running.get(run_id):
            control.stop(reason, message)
        else:
            self._stopped_early[run_id] = (reason, message)

    def is_running(self, run_id: UUID) -> bool:
        """Tell whether a run is at work in this process."""
        return run_id in self._running

    def is_at_work(self, run_id: UUID) -> bool:
        """Tell whether a run of this process has an agent at work right now."""
        control = self._running.get(run_id)
        return control is not None and control.at_work

    def touch(self, run_id: UUID) -> None:
        """Note a sign of life of a run's agent, if it runs here: a call of the task API."""
        control = self._running.get(run_id)
        if control is not None and control.on_activity is not None:
            control.on_activity()

    @contextmanager
    def waiting(self, run_id: UUID) -> Generator[None]:
        """Note for the block that a run's agent waits for a person, if it runs here."""
        control = self._running.get(run_id)
        if control is None:
            yield
            return
        with control.waits.waiting():
            yield

    def start_of(self, run_id: UUID) -> str | None:
        """The id of the start of a run that works in this process."""
        control = self._running.get(run_id)
        return control.start.id if control and control.start else None

    def control_of(self, run_id: UUID) -> RunControl | None:
        """Return the handle on a run that this process works on."""
        return self._running.get(run_id)

    def all_running(self) -> list[RunControl]:
        """Return the controls of all agent runs of this process."""
        return list(self._running.values())

    def at_work_on(self, task_id: str) -> RunControl | None:
        """Find the run of this process that works on a task, whatever Prefect knows of it."""
        return next((c for c in self.all_running() if c.task_id == task_id), None)

    def refuse_if_at_work(self, task_id: str) -> None:
        """Ask this process whether it has an agent on a task: the agent's run may be deleted.

        Raises:
            TaskBusyError: it has.
        """
        if (handle := self.at_work_on(task_id)) is not None:
            name = handle.run.name if handle.run else ""
            raise TaskBusyError(task_id, str(handle.run_id), name)

    # -- runs that a worker has ---------------------------------------------------------------

    def hold(self, run_id: UUID, worker: str, lease: Lease | None = None) -> None:
        """Note that a worker of this process has taken a run."""
        self._held[run_id] = Holding(worker, lease)

    def holding(self, run_id: UUID) -> Holding | None:
        """Tell which worker of this process has a run."""
        return self._held.get(run_id)

    def is_held(self, run_id: UUID) -> bool:
        """Tell whether a worker here has a run, from before it starts until it has ended."""
        return run_id in self._held

    def forget(self, run_id: UUID) -> None:
        """Drop what is remembered of a run that has ended."""
        self._held.pop(run_id, None)
        self._stopped_early.pop(run_id, None)

    # -- workers ------------------------------------------------------------------------------

    @contextmanager
    def listening(self, waker: Callable[[datetime | None], None]) -> Generator[None]:
        """Register a worker's alarm clock for as long as it works."""
        self._wakers.append(waker)
        try:
            yield
        finally:
            self._wakers.remove(waker)

    def wake(self, at: datetime | None = None) -> None:
        """Have the workers of this process look for due runs, now or at a time."""
        for waker in list(self._wakers):
            waker(at)

    @contextmanager
    def on_start(self, listener: Callable[[UUID], None]) -> Generator[None]:
        """Register a worker that wants to know when runs have started."""
        self._start_listeners.append(listener)
        try:
            yield
        finally:
            self._start_listeners.remove(listener)

    def started(self, run_id: UUID) -> None:
        """Tell the worker that a run has its agent, so that the next one may start."""
        for listener in list(self._start_listeners):
            listener(run_id)

    # -- the task API -------------------------------------------------------------------------

    @contextmanager
    def serving_api(self) -> Generator[None]:
        """Note that this process serves the task API, so that calls of agents are heard here."""
        self._apis += 1
        try:
            yield
        finally:
            self._apis -= 1

    def api_is_here(self) -> bool:
        """Tell whether this process serves the task API."""
        return self._apis > 0

    # -- Prefect ------------------------------------------------------------------------------

    def note_outage(self) -> None:
        """Count a time in which Prefect did not answer."""
        self._outages += 1

    def outages(self) -> int:
        """How often Prefect has been away so far."""
        return self._outages

    def note_return(self) -> None:
        """Note that Prefect answers again."""
        self._back_at = self._monotonic()

    def since_return(self) -> timedelta:
        """How long ago Prefect came back after it had been away; very long if it never was."""
        if self._back_at is None:
            return timedelta.max
        return timedelta(seconds=self._monotonic() - self._back_at)
