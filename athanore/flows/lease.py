"""The lease on this process's starts: until when its agents may live, as Prefect acknowledged it.

Others take a worker for lost when its heartbeat has not changed for `worker_lost_after`. The worker
counts from the *sending* of the last heartbeat that Prefect acknowledged, so its own time is over
first, whatever kind of silence it is: errors, packets that vanish, or a process that stood still.
A renewal also reads the worker's runs, so that it hears of what others did to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from itertools import batched
from typing import NamedTuple
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from athanore.agent_adapters.processes import GRACE
from athanore.agent_adapters.supervisor import default_reaper
from athanore.flows import clock, control, verdict
from athanore.flows.control import StopReason
from athanore.flows.transport import http_transport, prefect_client

logger = logging.getLogger("athanore.worker")

_PAGE = 200
_SECONDS_PER_RUN = 0.05  # with many runs a look costs the server more: look less often


class Terms(NamedTuple):
    """What `worker_lost_after` means for a worker, in seconds.

    Attributes:
        stop_after: after so much silence the agents are told to end,
        kill_after: and after so much nothing of them is left alive.
        renew_every: the time between two renewals.
        patience: how long a renewal may take; then it is tried anew on a new connection.
    """

    stop_after: float
    kill_after: float
    renew_every: float
    patience: float

    @classmethod
    def of(cls, lost_after: timedelta) -> Terms:
        """The terms under which others start no agent before all of ours are dead."""
        seconds = lost_after.total_seconds()
        kill_after = seconds - min(3.0, seconds / 5)
        stop_after = kill_after - min(GRACE + 2, seconds / 4)
        return cls(stop_after, kill_after, min(5.0, seconds / 12), min(15.0, seconds / 6))


class Lease:
    """Until when agents may live. `close` it in the end.

    Args:
        lost_after: the silence after which others take this process for lost.
        steady: a clock that goes on while the machine sleeps.
    """

    def __init__(self, lost_after: timedelta, steady: Callable[[], float] = clock.steady) -> None:
        self.terms = Terms.of(lost_after)
        self._steady = steady
        self._sent: float | None = None
        self._lapses = 0
        self._renewed = asyncio.Event()

    @property
    def until(self) -> float | None:
        """When it is over, by its clock; None before it is held for the first time."""
        return None if self._sent is None else self._sent + self.terms.stop_after

    @property
    def is_held(self) -> bool:
        """True while agents may be at work."""
        return self.until is not None and self._steady() < self.until

    @property
    def is_over(self) -> bool:
        """True when it was held, and is no longer."""
        return self.until is not None and not self.is_held

    @property
    def lapses(self) -> int:
        """How often it has been over so far."""
        return self._lapses + self.is_over

    def renew(self, sent: float) -> None:
        """Note that Prefect has acknowledged what was sent at a time of the clock."""
        if self._sent is None or sent > self._sent:
            if self.until is not None and sent >= self.until:
                self._lapses += 1
            self._sent = sent
            default_reaper().lease(self, sent + self.terms.kill_after)
        self._renewed.set()

    async def held(self) -> None:
        """Wait until agents may be started: at the beginning, and after a silence."""
        while not self.is_held:
            self._renewed.clear()
            await self._renewed.wait()

    def close(self) -> None:
        """End the lease of a process that has no agents any more."""
        default_reaper().lease(self, None)


@asynccontextmanager
async def kept(
    lease: Lease,
    runs: Callable[[], Collection[UUID]],
    heartbeat: Callable[[PrefectClient], Awaitable[object]] | None = None,
) -> AsyncGenerator[None]:
    """Keep a lease while the block runs, and stop the agents when it is over.

    Args:
        runs: tells which runs this process has.
        heartbeat: sends one for the worker; none if no worker of ours has the runs.
    """
    tasks = [
        asyncio.create_task(_keep(lease, runs, heartbeat)),
        asyncio.create_task(_fence(lease, runs)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        lease.close()


async def _keep(
    lease: Lease,
    runs: Callable[[], Collection[UUID]],
    heartbeat: Callable[[PrefectClient], Awaitable[object]] | None,
) -> None:
    """Renew the lease again and again, each time on new connections after a failure."""
    while True:
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(_own_client(lease.terms.patience))
                while True:
                    sent = clock.steady()
                    async with asyncio.timeout(lease.terms.patience):
                        if heartbeat is not None:
                            await heartbeat(client)
                        await look(client, runs())
                    lease.renew(sent)
                    most = lease.terms.stop_after / 4
                    many = min(len(runs()) * _SECONDS_PER_RUN, most)
                    await asyncio.sleep(max(lease.terms.renew_every, many))
        except Exception as exc:
            logger.debug("The heartbeat was not acknowledged: %s", exc or type(exc).__name__)
        await asyncio.sleep(min(1.0, lease.terms.renew_every))


def _own_client(patience: float) -> PrefectClient:
    """A client apart from the one that waits for Prefect: this one has no time to."""
    return prefect_client(http_transport(), timeout=patience)


async def _fence(lease: Lease, runs: Callable[[], Iterable[UUID]]) -> None:
    told = False
    while True:
        await asyncio.sleep(min(0.5, lease.terms.renew_every))
        if not lease.is_over:
            told = False
            continue
        if not told:
            told = True
            control.note_outage()
            logger.warning("Prefect has not acknowledged a heartbeat for long; agents are stopped.")
        for run_id in list(runs()):
            control.stop(run_id, StopReason.CUT_OFF)


async def look(client: PrefectClient, known: Collection[UUID]) -> None:
    """Read runs of this process, and stop the agents of those that are not its own any more."""
    # Who is heard of as gone must have been there when it was asked for.
    handles = {handle.run_id: handle for handle in control.all_running()}
    found: dict[UUID, FlowRun] = {}
    for some in batched(known, _PAGE, strict=False):
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(some))),
            sort=FlowRunSort.ID_DESC,
            limit=_PAGE,
        )
        found |= {run.id: run for run in page}
    for run_id in known:
        verdict.hear(run_id, found.get(run_id), handles.get(run_id))
