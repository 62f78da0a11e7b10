"""What agents have cost: what `athanore costs` and `GET /costs` show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

from athanore import names
from athanore.budgets import midnights
from athanore.runs import spending, store
from athanore.runs.port import RunStore
from athanore.runs.spending import Attempt
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.services.showing.cost_views import By, Costs, Report

MOST_DAYS = 31
_MOST_RUNS = 10_000


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
    runs = list({run.id: run for run in (*open_, *ended)}.values())
    attempts = [a for run in runs for a in spending.attempts_of(run) if a.at >= since]
    keys: Mapping[By, Callable[[Attempt], str]] = MappingProxyType(
        {
            "task": lambda a: a.task_id,
            "route": lambda a: a.route,
            "agent": lambda a: a.agent or "unknown",
            "model": lambda a: str(a.usage.get("model") or "unknown"),
            "day": lambda a: f"{a.at.astimezone(zone):%Y-%m-%d}",
        }
    )
    grouped: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        grouped.setdefault(keys[by](attempt), []).append(attempt)
    times = {r.id: r.estimated_run_time.total_seconds() for r in runs}
    rows = [total(key, mine, times) for key, mine in grouped.items()]
    if by == "day":
        rows.sort(key=lambda row: row.key, reverse=True)
    else:
        rows.sort(key=lambda row: (-(row.cost_usd or 0.0), row.key))
    whole = total("total", attempts, times)
    done, given_up = _ends(ended)
    return Report(by, since, tuple(rows), whole, len(ended) >= _MOST_RUNS, done, given_up)


def _ends(ended: Iterable[FlowRun]) -> tuple[int, int]:
    """How many tasks were done and given up at the end of their last run.

    Args:
        ended: the newest first.
    """
    last: dict[str, StateType | None] = {}
    for run in ended:
        if run.state_name != StateName.HANDED_OVER and (task_id := names.task_of(run.tags)):
            last.setdefault(task_id, run.state_type)
    ends = list(last.values())
    lost = (StateType.FAILED, StateType.CRASHED)
    return ends.count(StateType.COMPLETED), sum(end in lost for end in ends)


def total(
    key: str, attempts: Iterable[Attempt], times: Mapping[UUID, float] = MappingProxyType({})
) -> Costs:
    """The sum of some attempts.

    Args:
        times: how many seconds runs have worked.
    """
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
        estimated_usd=round(sum((s.cost_usd or 0.0 for s in known if s.is_estimate), 0.0), 6),
        unmeasured=len(found) - len(known),
        input_tokens=tokens("input_tokens"),
        output_tokens=tokens("output_tokens"),
        seconds=round(sum((times.get(run, 0.0) for run in {a.key.run for a in found}), 0.0), 1),
    )
