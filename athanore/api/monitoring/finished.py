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

from prefect.client.schemas.objects import FlowRun, StateType

from athanore.api.prefect.link import PrefectLink
from athanore.runs import store
from athanore.runs.records.record import record_of
from athanore.runs.spending import Attempt, Key, attempts_of
from athanore.runs.store import route_name

_DAY = timedelta(days=1)
_OVERLAP = timedelta(minutes=2)  # workers' clocks differ, and states may arrive late
_FRESH_SECONDS = 5.0
_MOST_RUNS = 2000  # of the day before the first look


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended.

    `latency` is how long it waited beyond its due time, `seconds` how long it was Running.
    `attempts` has those that no earlier ending of the run had.
    """

    route: str
    state: str
    ended: datetime
    seconds: float
    latency: float
    retries: int
    crashes: int
    usage: Mapping[str, float] = field(default_factory=dict[str, float])
    attempts: tuple[Attempt, ...] = ()


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
        self._counted: dict[Key, datetime] = {}
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
                found = await store.ended_since(client, self._app, since, most=_MOST_RUNS)
            for run in found:
                key = f"{run.id}/{run.run_count}"
                if run.end_time is not None and key not in self._seen:
                    self._seen[key] = run.end_time
                    attempts = [a for a in attempts_of(run) if a.key not in self._counted]
                    self._counted |= {a.key: run.end_time for a in attempts}
                    finished = _finished(run, run.end_time, tuple(attempts))
                    self._day.append(finished)
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
        self._counted = {k: t for k, t in self._counted.items() if t > now - _DAY}
        self._day = deque(f for f in self._day if f.ended > now - _DAY)


def _finished(run: FlowRun, ended: datetime, attempts: tuple[Attempt, ...]) -> Finished:
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
        attempts=attempts,
    )
