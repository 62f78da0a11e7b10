"""Polls that Prefect has offered before their time, until they are due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore.runtime.background import SideTasks
from athanore.worker.poll_runs.polls import scheduled_time
from athanore.worker.poll_runs.unchanged import AHEAD, UnchangedPolls

logger = logging.getLogger("athanore.worker")

_MOST = 50
"""How many polls are ended in one request, which is as many as Prefect takes."""


class DuePolls:
    """Gives polls on when they are due; those that would find nothing new are ended instead.

    Args:
        give: takes polls that are due, to run them.
        now: tells the time of day at Prefect.
    """

    def __init__(
        self,
        unchanged: UnchangedPolls,
        give: Callable[[list[FlowRun]], None],
        now: Callable[[], datetime],
    ) -> None:
        self._unchanged = unchanged
        self._give = give
        self._now = now
        self._waiting: dict[UUID, tuple[FlowRun, asyncio.TimerHandle]] = {}
        self._settling: set[UUID] = set()
        self._side_tasks = SideTasks("The end of unchanged polls")
        self._stopped = False

    def __contains__(self, run_id: UUID) -> bool:
        return run_id in self._waiting or run_id in self._settling

    def wait_for(self, polls: Iterable[FlowRun]) -> None:
        """Take polls, and give each on when it is due; those that are due already at once."""
        now = self._now()
        loop = asyncio.get_running_loop()
        due: list[FlowRun] = []
        for run in polls:
            wait = (scheduled_time(run) - now).total_seconds()
            if wait > 0:
                self._waiting[run.id] = run, loop.call_later(wait, self._is_due, run)
            else:
                due.append(run)
        if due:
            self._give(due)

    def stop(self) -> None:
        """Give nothing on any more."""
        self._stopped = True
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()

    def _is_due(self, run: FlowRun) -> None:
        del self._waiting[run.id]
        if not self._unchanged.may_be(run):
            self._give([run])
            return
        soon = self._now() + AHEAD
        together = [run]
        for other, timer in list(self._waiting.values()):
            if len(together) == _MOST:
                break
            if scheduled_time(other) <= soon and self._unchanged.may_be(other):
                timer.cancel()
                del self._waiting[other.id]
                together.append(other)
        self._settling.update(r.id for r in together)
        self._side_tasks.start(self._settle(together))

    async def _settle(self, polls: Sequence[FlowRun]) -> None:
        ended: set[UUID] = set()
        try:
            ended = await self._unchanged.complete(polls)
        except Exception as exc:  # whole polls are always right
            logger.debug("Polls that find nothing new could not be ended: %s", exc)
        finally:
            self._settling.difference_update(r.id for r in polls)
        if not self._stopped:
            self.wait_for([r for r in polls if r.id not in ended])
