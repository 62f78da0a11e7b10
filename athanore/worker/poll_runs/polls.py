"""Late and overlapping polls of a route become one; those that found nothing are deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.runs import clearing
from athanore.runs.capacity.pausing import RESUME
from athanore.runs.port import RunStore
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App

logger = logging.getLogger("athanore.worker")

EMPTY_POLLS_STAY = timedelta(hours=1)
"""How long a poll that found nothing can be looked at in Prefect."""

_CLEAN_UP_EVERY = timedelta(minutes=5)


@dataclass(slots=True)
class _Lane:
    running: UUID | None = None
    started: datetime | None = None
    remembered: FlowRun | None = None

    def begin(self, now: datetime) -> None:
        """Note that the remembered poll starts now."""
        assert self.remembered is not None
        self.running, self.remembered = self.remembered.id, None
        self.started = now


@dataclass(slots=True)
class PollLanes:
    """Decides, for each route, which of the poll runs that are due is run.

    One runs, one more is remembered, the newest one wins; what is superseded is handed back to be
    cleared away, and so is what was due before the last one started: that has looked since. Nothing
    here talks to Prefect.

    Args:
        now: tells the time of day at Prefect.
    """

    now: Callable[[], datetime]
    _lanes: dict[UUID, _Lane] = field(default_factory=dict[UUID, _Lane])

    def offer(self, due: Iterable[FlowRun]) -> tuple[list[FlowRun], list[FlowRun]]:
        """Take poll runs that are due; return those to run now and those that are superseded."""
        start: list[FlowRun] = []
        superseded: list[FlowRun] = []
        for run in sorted(due, key=scheduled_time):
            lane = self._lanes.setdefault(_route(run), _Lane())
            if run.id == lane.running or (lane.remembered and run.id == lane.remembered.id):
                continue  # Prefect offers it until it has begun
            is_plain = not _more(run)
            if is_plain and lane.started is not None and scheduled_time(run) <= lane.started:
                superseded.append(run)
                continue
            known, lane.remembered = lane.remembered, run
            if known is not None and _more(known) > _more(run):
                known, lane.remembered = run, known
            if known is not None:
                superseded.append(known)
        for lane in self._lanes.values():
            if lane.running is None and lane.remembered is not None:
                start.append(lane.remembered)
                lane.begin(self.now())
        return start, superseded

    def done(self, run: FlowRun) -> FlowRun | None:
        """Note the end of a poll; return the remembered one, which runs next."""
        lane = self._lanes.get(_route(run))
        if lane is None or lane.running != run.id:
            return None
        following = lane.remembered
        lane.running = None
        if following is not None:
            lane.begin(self.now())
        elif _route(run) == run.id:
            del self._lanes[run.id]
        return following


async def clear_polls(client: RunStore, superseded: Sequence[FlowRun]) -> None:
    """Delete up to 50 polls that another one stands for; what somebody has started is ended.

    Who has started one may be looking at it.
    """
    started = [run for run in superseded if not run.auto_scheduled]
    if started:
        await clearing.join_polls(client, started)
    if len(started) < len(superseded):
        await clearing.delete_waiting(client, [r.id for r in superseded if r.auto_scheduled])


async def forget_empty_polls(client: PrefectRunStore, apps: Sequence[App]) -> None:
    """Delete the apps' polls that found nothing, an hour after they ended; runs until cancelled.

    At a poll every ten seconds they would be 8,640 a day and route. Prefect's own clean-up keeps
    all runs for as long as those of agents.
    """
    while True:
        try:
            for app in apps:
                before = app.clock.now() - EMPTY_POLLS_STAY
                if deleted := await clearing.delete_empty_polls(client, app.name, before):
                    logger.debug("Deleted %s polls of %s that found nothing.", deleted, app.name)
        except Exception as exc:
            logger.warning(
                "Polls that found nothing could not be deleted: %s",
                exc,
                extra={"action": "polls_not_deleted"},
            )
        await asyncio.sleep(_CLEAN_UP_EVERY.total_seconds())


def scheduled_time(run: FlowRun) -> datetime:
    """When a run is due."""
    due = run.next_scheduled_start_time or run.expected_start_time
    if due is None:
        raise ValueError(f"flow run {run.id} has no scheduled time")
    return due


def _more(run: FlowRun) -> int:
    """What a poll does beyond looking: one that does less does not stand for it.

    One that resumes its route reads the board anew, too. A plain one may be answered by a reading
    from before the change that a webhook has told.
    """
    return 2 if RESUME in run.parameters else 1 if names.NEWER_THAN in run.parameters else 0


def _route(run: FlowRun) -> UUID:
    """Whose lane a run is in.

    A person who starts scheduled work by hand wants a task of its own: it stands for no other.
    """
    if names.SCHEDULE_TAG in run.tags and not run.auto_scheduled:
        return run.id
    return run.deployment_id or run.flow_id
