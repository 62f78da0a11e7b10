"""The second gate: no more agents at once than the limits say, whoever started the runs.

Prefect applies a pool's limit only when it offers runs, so runs that were started by hand, or
offered to two workers at the same moment, can exceed it. Each run therefore announces itself first
(it is Running) and then counts the others. Of any set of runs that are too many, the last one to
announce itself sees all the others and steps back, so the limit always holds.

Runs of one process pass one after the other and know of each other, so that they do not all step
back from each other; that is only needed between processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.runs import store
from athanore.runs.capacity import label_caps
from athanore.runs.port import RunStore
from athanore.runs.records.run_log import RunLog

_LIMIT_COUNTS_FOR = 2.0


class Slots:
    """The gate of one app in this process."""

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._not_passed: set[UUID] = set()
        self._limits: dict[tuple[str, str | UUID], tuple[float, int | None]] = {}

    async def no_slot(self, prefect: RunStore, app: str, run: FlowRun) -> str | None:
        """Say why this run may not start an agent now, or return None if it may.

        A run of the same task that still works is such a reason, too. Call `leave` when the run
        ends.
        """
        self._not_passed.add(run.id)
        async with self._gate:
            reason = await self._count(prefect, app, run)
            if reason is None:
                self._not_passed.discard(run.id)
            return reason

    async def no_label_slot(
        self, prefect: RunStore, app: str, run_log: RunLog, limits: Mapping[str, int]
    ) -> str | None:
        """Say which label of a run's task has no slot for it; None if all have.

        It is noted on the run first, so that others count it.

        Args:
            limits: those that count for the task.
        """
        await run_log.counts_for(label_caps.dump(limits))
        if not limits:
            return None
        self._not_passed.add(run_log.run.id)
        async with self._gate:
            apart = {run_log.run.id, *self._not_passed}
            full = label_caps.full(limits, await label_caps.at_work(prefect, app, limits, apart))
            if full is None:
                self._not_passed.discard(run_log.run.id)
            return full

    def leave(self, run_id: UUID) -> None:
        """Forget a run of this process that has ended."""
        self._not_passed.discard(run_id)

    async def _count(self, prefect: RunStore, app: str, run: FlowRun) -> str | None:
        apart = {run.id, *self._not_passed}
        task_id = names.task_of(run.tags)
        others, of_task = await asyncio.gather(
            store.count_working(prefect, app, but=apart),
            store.count_working(prefect, app, but=apart, task_id=task_id),
        )
        if of_task and task_id is not None:
            return "another run still works on this task"
        if run.work_pool_name:
            name = run.work_pool_name
            limit = await self._limit(prefect, name, lambda: _limit_of_pool(prefect, name))
            if limit is not None and others >= limit:
                return f"all {limit} agent slots are taken"
        if run.work_queue_id is not None:
            queue_id = run.work_queue_id
            limit = await self._limit(prefect, queue_id, lambda: prefect.queue_limit(queue_id))
            if limit is not None and others >= limit:
                beside = await store.count_working(prefect, app, but=apart, queue_id=queue_id)
                if beside >= limit:
                    return f"all {limit} slots of the route are taken"
        return None

    async def _limit(
        self, prefect: RunStore, what: str | UUID, read: Callable[[], Awaitable[int | None]]
    ) -> int | None:
        """The limit of a pool or queue; one that somebody changes counts after two seconds."""
        key = (prefect.address, what)
        read_at, limit = self._limits.get(key, (0.0, None))
        if not read_at or time.monotonic() - read_at > _LIMIT_COUNTS_FOR:
            limit = await read()
            self._limits[key] = (time.monotonic(), limit)
        return limit


async def _limit_of_pool(prefect: RunStore, name: str) -> int | None:
    return (await prefect.work_pool(name)).concurrency_limit
