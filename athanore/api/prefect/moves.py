"""Telling Prefect that an agent moved its task itself, so that no poll stops it for that."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from athanore.api.prefect.link import PrefectLink
from athanore.errors import PrefectUnavailableError
from athanore.runs.records.own_moves import note_move
from athanore.runtime.background import tell_failure

logger = logging.getLogger("athanore.api")

_PAUSE = 0.5
_TRIES = 7200
"""An hour of them: a Prefect that is back and cannot write must not be asked for ever."""


class Moves:
    """Notes moves on the agents' runs; what Prefect cannot be told now, it is told when it is back.

    A move never fails by this: the board is what counts.
    """

    def __init__(self, prefect: PrefectLink) -> None:
        self._prefect = prefect
        self._later: set[asyncio.Task[None]] = set()

    async def note(self, run_id: UUID, start: int, target_queue: str) -> None:
        """Note on an agent's run that it moves its task; see `own_moves.note_move`."""
        try:
            await self._write(run_id, start, target_queue)
        except PrefectUnavailableError:
            work = self._write_later(run_id, start, target_queue)
            task = asyncio.create_task(work, name=f"Telling run {run_id} of its agent's move")
            self._later.add(task)
            task.add_done_callback(self._later.discard)
            task.add_done_callback(tell_failure)

    async def close(self) -> None:
        """Forget what Prefect could not be told."""
        for task in list(self._later):
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    async def _write_later(self, run_id: UUID, start: int, target_queue: str) -> None:
        for _ in range(_TRIES):
            await asyncio.sleep(_PAUSE)
            with suppress(PrefectUnavailableError):
                await self._write(run_id, start, target_queue)
                return
        logger.warning(
            "Run %s was never told that its agent has moved its task.",
            run_id,
            extra={"action": "move_not_noted"},
        )

    async def _write(self, run_id: UUID, start: int, target_queue: str) -> None:
        try:
            async with self._prefect.client() as client:
                await note_move(client, run_id, start, target_queue)
        except (ObjectNotFound, PrefectHTTPStatusError) as exc:
            logger.warning(
                "Run %s was not told that its agent moves its task: %s",
                run_id,
                exc,
                extra={"action": "move_not_noted"},
            )
