"""What agents have cost: what `athanore costs` and `GET /costs` show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

from athanore.budgets import midnights
from athanore.runs import spending, store
from athanore.runs.port import RunStore
from athanore.runs.spending import Attempt
from athanore.runtime.apps import App

type By = Literal["task", "route", "agent", "day"]

MOST_DAYS = 31
_MOST_RUNS = 10_000


@dataclass(frozen=True, slots=True)
class Costs:
    """What some attempts have cost.

    Attributes:
        key: whose: a task, a route, an agent or a day.
        tasks, attempts: how many there were.
        cost_usd: what is known of it; None if nothing is.
        estimated_usd: how much of that was estimated from tokens.
        unmeasured: of how many attempts nobody knows the cost.
        input_tokens, output_tokens: None if nobody knows.
    """

    key: str
    tasks: int
    attempts: int
    cost_usd: float | None
    estimated_usd: float
    unmeasured: int
    input_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """What the agents of an app have cost since a midnight.

    Attributes:
        is_partial: there were too many runs to count them all; the newest are counted.
    """

    by: By
    since: datetime
    rows: tuple[Costs, ...]
    total: Costs
    is_partial: bool


async def costs(prefect: RunStore, app: App, by: By, days: int) -> Report:
    """Sum what the agents of an app have cost.

    Args:
        by: what each row is about; of days the newest comes first, else the most expensive.
        days: since which midnight: 1 is today's, of the app's `budget_time_zone`.
    """
    zone = app.dispatcher.settings.budget_zone
    today, _ = midnights(app.clock.now(), zone)
    since, _ = midnights(today - timedelta(days=days - 1), zone)
    ended = await store.ended_since(prefect, app.name, since, most=_MOST_RUNS)
    open_ = await store.find_runs(prefect, app.name, (*store.WAITING, *store.WORKING))
    runs = {run.id: run for run in (*open_, *ended)}.values()
    attempts = [a for run in runs for a in spending.attempts_of(run) if a.at >= since]
    keys: Mapping[By, Callable[[Attempt], str]] = MappingProxyType(
        {
            "task": lambda a: a.task_id,
            "route": lambda a: a.route,
            "agent": lambda a: a.agent or "unknown",
            "day": lambda a: f"{a.at.astimezone(zone):%Y-%m-%d}",
        }
    )
    grouped: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        grouped.setdefault(keys[by](attempt), []).append(attempt)
    rows = [total(key, mine) for key, mine in grouped.items()]
    if by == "day":
        rows.sort(key=lambda row: row.key, reverse=True)
    else:
        rows.sort(key=lambda row: (-(row.cost_usd or 0.0), row.key))
    whole = total("total", attempts)
    return Report(by, since, tuple(rows), whole, len(ended) >= _MOST_RUNS)


def total(key: str, attempts: Iterable[Attempt]) -> Costs:
    """The sum of some attempts."""
    found = list(attempts)
    known = [a.spent for a in found if a.spent.cost_usd is not None]

    def tokens(kind: str) -> int | None:
        counts = [int(n) for a in found if isinstance(n := a.usage.get(kind), int | float)]
        return sum(counts) if counts else None

    return Costs(
        key=key,
        tasks=len({a.task_id for a in found}),
        attempts=len(found),
        cost_usd=round(sum(s.cost_usd or 0.0 for s in known), 6) if known else None,
        estimated_usd=round(sum(s.cost_usd or 0.0 for s in known if s.is_estimate), 6),
        unmeasured=len(found) - len(known),
        input_tokens=tokens("input_tokens"),
        output_tokens=tokens("output_tokens"),
    )
