"""No more agents at once on tasks with one label than routes say (`label_limits`).

A run that has been given the labels of its task notes in its record those that are limited. A task
gets no run while as many others have its label; so few runs wait for a slot, and none takes one.
What is dispatched all the same (by hand, by a pipeline, a retry) is counted once more when it
starts, as in `slots`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import PrefectState

_SOON = timedelta(seconds=1)


def limits_of(route: Route, task: Task) -> dict[str, int]:
    """The limits of a route that count for a task, by its labels."""
    return {n: most for n, most in route.label_limits.items() if n in task.labels}


def dump(labels: Iterable[str]) -> str:
    """Limited labels as they are in a run's record."""
    found = sorted(labels)
    return json.dumps(found, ensure_ascii=False) if found else ""


def labels_of(run: FlowRun) -> list[str]:
    """The limited labels that a run counts for."""
    try:
        found: object = json.loads(record_of(run).labels or "[]")
    except ValueError:
        return []
    return [str(label) for label in cast("list[object]", found)] if isinstance(found, list) else []


def tally(runs: Iterable[FlowRun], now: datetime) -> Counter[str]:
    """How many of some runs have each label: those that work, and those that are about to."""
    return Counter(label for run in runs if _counts(run, now) for label in labels_of(run))


def _counts(run: FlowRun, now: datetime) -> bool:
    if run.state_type in (*store.WORKING, StateType.PENDING):
        return True
    if run.state_type is not StateType.SCHEDULED:
        return False
    # One that was refused a slot has its turn before tasks that have no run yet.
    due = run.state.state_details.scheduled_time if run.state else None
    return run.state_name == PrefectState.AWAITING_SLOT or due is None or due <= now + _SOON


async def open_by_label(prefect: RunStore, app: str, now: datetime) -> Counter[str]:
    """How many runs of an app count for each label."""
    runs = await store.find_runs(prefect, app, (*store.WAITING, *store.WORKING))
    return tally(runs, now)


async def at_work(
    prefect: RunStore, app: str, labels: Collection[str], but: Collection[UUID]
) -> Counter[str]:
    """How many agents of an app work on tasks with each of some labels.

    Args:
        but: do not count these runs.
    """
    runs = await store.find_runs(prefect, app, store.WORKING)
    found = Counter(n for run in runs if run.id not in but for n in labels_of(run))
    return Counter({label: found[label] for label in labels})


def full(limits: Mapping[str, int], busy: Counter[str]) -> str | None:
    """Say which label has as many agents as it may; None if none has."""
    for label, most in limits.items():
        if busy[label] >= most:
            return f"{most} of {most} agents with label {label!r} busy"
    return None
