"""How far agents say they are: a progress artifact for each run in Prefect, and events."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from uuid import UUID

from cachetools import TTLCache

from athanore.api.prefect.link import PrefectLink
from athanore.models import EventKind
from athanore.runs import artifacts
from athanore.runs.events.announcer import Announcer
from athanore.runs.prefect_store import PrefectRunStore
from athanore.texts import markdown

logger = logging.getLogger("athanore.api")

_TYPE = "progress"
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What an agent says of its run."""

    run_id: UUID
    task_id: str
    percent: float
    text: str


class ProgressReports:
    """Writes the newest report of each run, at most one a second; reports in between are dropped.

    A report never fails: it is a courtesy to those who look, and not worth an agent's retry.
    """

    def __init__(self, prefect: PrefectLink, announcer: Announcer) -> None:
        self._prefect = prefect
        self._announcer = announcer
        self._newest: dict[UUID, Progress] = {}
        self._writers: dict[UUID, asyncio.Task[None]] = {}
        self._artifacts: TTLCache[UUID, UUID] = TTLCache(1000, ttl=86_400)
        self._closing = asyncio.Event()

    def take(self, progress: Progress) -> None:
        """Take a report, to be written soon."""
        run_id = progress.run_id
        self._newest[run_id] = progress
        if run_id not in self._writers:
            self._writers[run_id] = asyncio.create_task(self._write(run_id))

    async def close(self) -> None:
        """Write what is still to be written."""
        self._closing.set()
        await asyncio.gather(*self._writers.values())

    async def _write(self, run_id: UUID) -> None:
        try:
            while (progress := self._newest.pop(run_id, None)) is not None:
                data = {"percent": progress.percent, "text": progress.text}
                self._announcer.announce(progress.task_id, EventKind.PROGRESS, data, run_id)
                try:
                    async with self._prefect.client() as client:
                        await self._put(client, progress)
                except Exception as exc:
                    logger.warning(
                        "Progress of run %s was not written: %s",
                        run_id,
                        exc,
                        extra={"action": "progress_not_written"},
                    )
                try:
                    async with asyncio.timeout(_PAUSE):
                        await self._closing.wait()
                except TimeoutError:
                    continue
        finally:
            del self._writers[run_id]

    async def _put(self, client: PrefectRunStore, progress: Progress) -> None:
        """Renew the run's artifact, or make it; another process may have made it."""
        run_id = progress.run_id
        artifact = self._artifacts.get(run_id)
        if artifact is None:
            found = await artifacts.newest(client, run_id, _TYPE)
            artifact = found.id if found else None
        self._artifacts[run_id] = await artifacts.put(
            client,
            run_id,
            _TYPE,
            over=artifact,
            data=progress.percent,
            description=markdown(progress.text),
        )
