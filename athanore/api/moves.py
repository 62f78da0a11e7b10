"""Telling Prefect that an agent moved its task itself, so that no poll stops it for that."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from athanore.api.prefect_link import PrefectLink
from athanore.errors import PrefectUnavailableError
from athanore.flows import ledger, runs

logger = logging.getLogger("athanore.api")

_PAUSE = 0.5
_TRIES = 7200
"""An hour of them: a Prefect that is back and cannot write must not be asked for ever."""


class Moves:
    """Notes moves on the tasks' runs; what Prefect cannot be told now, it is told when it is back.

    A move never fails by this: the board is what counts.
    """

    def __init__(self, app: str, prefect: PrefectLink) -> None:
        self._app = app
        self._prefect = prefect
        self._later: set[asyncio.Task[None]] = set()

    async def note(self, task_id: str, target_queue: str, run_id: UUID | None) -> None:
        """Note on a task's run that its agent moves it.

        Args:
            run_id: the agent's run, if the caller said so; else the run that works on the task.
        """
        try:
            await self._write(task_id, target_queue, run_id)
        except PrefectUnavailableError:
            task = asyncio.create_task(self._write_later(task_id, target_queue, run_id))
            self._later.add(task)
            task.add_done_callback(self._later.discard)

    async def close(self) -> None:
        """Forget what Prefect could not be told."""
        for task in list(self._later):
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    async def _write_later(self, task_id: str, target_queue: str, run_id: UUID | None) -> None:
        for _ in range(_TRIES):
            await asyncio.sleep(_PAUSE)
            with suppress(PrefectUnavailableError):
                await self._write(task_id, target_queue, run_id)
                return
        logger.warning("The run of task %s was never told of its move.", task_id)

    async def _write(self, task_id: str, target_queue: str, run_id: UUID | None) -> None:
        try:
            async with self._prefect.client() as client:
                if run_id is None:
                    active = await runs.active_runs(client, self._app, [task_id])
                    run = active.get(task_id)
                    run_id = run.id if run and run.state_type in runs.WORKING else None
                if run_id is not None:
                    await client.update_flow_run_labels(run_id, {ledger.MOVED: target_queue})
        except (ObjectNotFound, PrefectHTTPStatusError) as exc:
            logger.warning("The run of task %s was not told of its move: %s", task_id, exc)
