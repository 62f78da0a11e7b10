"""Keeping a lease: renewing it with the heartbeat, and stopping the agents when it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import batched
from typing import NoReturn
from uuid import UUID

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from athanore.processes.family import steady
from athanore.runs.connection.transports import http_transport, prefect_client
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.leases import verdict
from athanore.runtime.leases.lease import Lease
from athanore.runtime.leases.local_runs import LocalRuns, StopReason

logger = logging.getLogger("athanore.worker")

type KnownRuns = Mapping[UUID, LocalRuns]
"""The runs that a process has, and where each of them is registered while its flow works."""

_PAGE = 200
_SECONDS_PER_RUN = 0.05  # with many runs a look costs the server more: look less often


@asynccontextmanager
async def kept(
    lease: Lease,
    runs: Callable[[], KnownRuns],
    heartbeat: Callable[[PrefectRunStore], Awaitable[object]] | None = None,
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
    runs: Callable[[], KnownRuns],
    heartbeat: Callable[[PrefectRunStore], Awaitable[object]] | None,
) -> None:
    """Renew the lease again and again, each time on new connections after a failure.

    The client is apart from the one that waits for Prefect: this one has no time to. It stays, for
    a new one reads all certificates, which costs more than all else while Prefect is away.
    """
    transport = http_transport()
    async with prefect_client(transport, timeout=lease.terms.patience) as client:
        while True:
            try:
                await _renew(lease, client, runs, heartbeat)
            except Exception as exc:
                said = exc or type(exc).__name__
                logger.debug("The heartbeat was not acknowledged: %s", said)
                await transport.renew()
                await asyncio.sleep(min(1.0, lease.terms.renew_every))


async def _renew(
    lease: Lease,
    client: PrefectRunStore,
    runs: Callable[[], KnownRuns],
    heartbeat: Callable[[PrefectRunStore], Awaitable[object]] | None,
) -> NoReturn:
    """Renew the lease until that fails.

    Raises:
        Exception: whatever Prefect, or the way to it, has answered.
    """
    while True:
        sent = steady()
        async with asyncio.timeout(lease.terms.patience):
            if heartbeat is not None:
                await heartbeat(client)
            await look(client, runs())
        lease.renew(sent)
        most = lease.terms.stop_after / 4
        many = min(len(runs()) * _SECONDS_PER_RUN, most)
        await asyncio.sleep(max(lease.terms.renew_every, many))


async def _fence(lease: Lease, runs: Callable[[], KnownRuns]) -> None:
    told = False
    while True:
        await asyncio.sleep(min(0.5, lease.terms.renew_every))
        if not lease.is_over:
            told = False
            continue
        if not told:
            told = True
            for local_runs in set(runs().values()):
                local_runs.note_outage()
            logger.warning(
                "Prefect has not acknowledged a heartbeat for long; agents are stopped.",
                extra={"action": "lease_lost"},
            )
        for run_id, local_runs in list(runs().items()):
            local_runs.stop(run_id, StopReason.CUT_OFF)


async def look(client: PrefectRunStore, known: KnownRuns) -> None:
    """Read runs of this process, and stop the agents of those that are not its own any more."""
    # Who is heard of as gone must have been there when it was asked for.
    known = dict(known)
    handles = {run_id: local_runs.control_of(run_id) for run_id, local_runs in known.items()}
    found: dict[UUID, FlowRun] = {}
    for some in batched(known, _PAGE, strict=False):
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(some))),
            sort=FlowRunSort.ID_DESC,
            limit=_PAGE,
        )
        found |= {run.id: run for run in page}
    for run_id, local_runs in known.items():
        verdict.hear(local_runs, run_id, found.get(run_id), handles[run_id])
