"""What the app's finished runs came to: counted as they end, for /metrics and /status.

Prefect is asked only while somebody looks, and then only for what has ended since the last look.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from athanore import names
from athanore.api.prefect.link import PrefectLink
from athanore.runs import store
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.record import record_of
from athanore.runs.store import route_name

_DAY = timedelta(days=1)
_OVERLAP = timedelta(minutes=2)  # workers' clocks differ, and states may arrive late
_FRESH_SECONDS = 5.0
_PAGE = 200
_MOST_RUNS = 2000  # of the day before the first look


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended.

    `latency` is how long it waited beyond its due time, `seconds` how long it was Running.
    """

    route: str
    state: str
    ended: datetime
    seconds: float
    latency: float
    retries: int
    crashes: int
    usage: Mapping[str, float] = field(default_factory=dict[str, float])


class FinishedRuns:
    """The runs of an app that have ended within a day.

    Args:
        on_new: is told of each run once, as it is found.
    """

    def __init__(self, app: str, prefect: PrefectLink, on_new: Callable[[Finished], None]) -> None:
        self._on_new = on_new
        self._app = app
        self._prefect = prefect
        self._lock = asyncio.Lock()
        self._day: deque[Finished] = deque()
        self._seen: dict[str, datetime] = {}
        self._until: datetime | None = None
        self._looked_at = -_FRESH_SECONDS

    async def look(self) -> None:
        """Find the runs that have ended since the last look, unless that was a moment ago.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        async with self._lock:
            if monotonic() - self._looked_at < _FRESH_SECONDS:
                return
            now = datetime.now(UTC)
            since = now - _DAY if self._until is None else self._until - _OVERLAP
            async with self._prefect.client() as client:
                found = await self._ended_since(client, since)
            for run in found:
                key = f"{run.id}/{run.run_count}"
                if run.end_time is not None and key not in self._seen:
                    self._seen[key] = run.end_time
                    self._day.append(finished := _finished(run, run.end_time))
                    self._on_new(finished)
            self._until, self._looked_at = now, monotonic()
            self._forget(now)

    async def last_day(self) -> list[Finished]:
        """Return the runs that have ended within the last day.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        await self.look()
        return list(self._day)

    def _forget(self, now: datetime) -> None:
        self._seen = {k: t for k, t in self._seen.items() if t > now - _DAY}
        self._day = deque(f for f in self._day if f.ended > now - _DAY)

    async def _ended_since(self, client: PrefectRunStore, since: datetime) -> list[FlowRun]:
        found: list[FlowRun] = []
        while len(found) < _MOST_RUNS:
            page = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    tags=FlowRunFilterTags(all_=[names.app_tag(self._app), names.AGENT_TAG]),
                    state=FlowRunFilterState(
                        type=FlowRunFilterStateType(any_=list(store.FINISHED))
                    ),
                    end_time=FlowRunFilterEndTime.model_validate({"after_": since}),
                ),
                sort=FlowRunSort.END_TIME_DESC,
                limit=_PAGE,
                offset=len(found),
            )
            found += page
            if len(page) < _PAGE:
                break
        # Those that were started by hand only hand over to the run that has the task.
        return [r for r in found if names.task_of(r.tags) is not None]


def _finished(run: FlowRun, ended: datetime) -> Finished:
    record = record_of(run)
    usage = {k: float(v) for k, v in record.usage.items() if not isinstance(v, str)}
    state = run.state_type or StateType.COMPLETED
    return Finished(
        route=route_name(run),
        state=state.value.lower(),
        ended=ended,
        seconds=run.total_run_time.total_seconds(),
        latency=max(0.0, run.estimated_start_time_delta.total_seconds()),
        retries=record.retries,
        crashes=record.crashes,
        usage=usage,
    )
