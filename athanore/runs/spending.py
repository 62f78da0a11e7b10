"""What the agents of an app have used, read from the records of its runs.

There is no other account of it: each start books its running total in the record of its run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore import names
from athanore.budgets import Spent
from athanore.runs import store
from athanore.runs.connection.clock import Clock
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of

_OVERLAP = timedelta(minutes=2)  # workers' clocks differ, and states may arrive late


class Key(NamedTuple):
    """One start of a run."""

    run: UUID
    start: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one start of a run has used.

    Attributes:
        at: when that was booked last: an attempt belongs to the day in which it ended.
        agent: what ran it; "" for an attempt of an earlier version.
        usage: all that its adapter told.
    """

    key: Key
    task_id: str
    route: str
    agent: str
    at: datetime
    spent: Spent
    usage: dict[str, Any]


def attempts_of(run: FlowRun) -> Iterator[Attempt]:
    """The attempts of a run that have used something, or of which nobody knows."""
    told: dict[int, dict[str, Any]] = {}
    for (start, kind), amount in record_of(run).used.items():
        told.setdefault(start, {})[kind] = amount
    for start, usage in told.items():
        agent = str(usage.get("agent") or usage.get("model") or "")
        at = _moment(usage.get("at")) or run.end_time or run.expected_start_time
        yield Attempt(
            Key(run.id, start),
            names.task_of(run.tags) or "",
            store.route_name(run),
            agent,
            at or datetime.now(UTC),
            Spent.of(usage),
            usage,
        )


@dataclass(slots=True)
class _Ended:
    """The finished runs of a route that were read already, from a moment on."""

    since: datetime
    until: datetime
    attempts: dict[UUID, list[Attempt]] = field(default_factory=dict[UUID, "list[Attempt]"])


class Ledger:
    """Sums of what agents have used. Runs that have ended are read once.

    Args:
        clock: Prefect's, by which the ends of runs are told.
    """

    def __init__(self, app: str, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._ended: dict[str, _Ended] = {}

    async def of_task(self, prefect: RunStore, task_id: str, *, but: Key | None = None) -> Spent:
        """What a task has used so far, on all routes.

        Args:
            but: do not count this start.
        """
        states = (*store.FINISHED, *store.WAITING, *store.WORKING)
        runs = await store.find_runs(prefect, self._app, states, task_ids=[task_id])
        return _sum((a for run in runs for a in attempts_of(run)), but)

    async def of_day(
        self,
        prefect: RunStore,
        routes: Collection[str],
        since: datetime,
        *,
        but: Key | None = None,
    ) -> Spent:
        """What a route has used since a moment.

        Args:
            routes: its name, and those that it had.
            but: do not count this start.
        """
        found: dict[UUID, list[Attempt]] = {}
        for route in routes:
            known = self._known(route, since)
            found |= known.attempts
            open_ = await store.find_runs(
                prefect, self._app, (*store.WAITING, *store.WORKING), route=route
            )
            found |= {r.id: list(attempts_of(r)) for r in open_}
            found |= await self._ended_lately(prefect, route, known)
        return _sum((a for mine in found.values() for a in mine if a.at >= since), but)

    def _known(self, route: str, since: datetime) -> _Ended:
        known = self._ended.get(route)
        if known is None or known.since != since:
            known = self._ended[route] = _Ended(since, since)
        return known

    async def _ended_lately(
        self, prefect: RunStore, route: str, known: _Ended
    ) -> dict[UUID, list[Attempt]]:
        """The runs that have ended since the last look; they are remembered."""
        now = self._clock.now()
        from_ = max(known.since, known.until - _OVERLAP)
        runs = await store.ended_since(prefect, self._app, from_, route=route)
        lately = {r.id: list(attempts_of(r)) for r in runs}
        known.attempts |= lately
        known.until = now
        return lately


def _sum(attempts: Iterator[Attempt], but: Key | None) -> Spent:
    return Spent.total(a.spent for a in attempts if a.key != but)


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
