"""Runs that have not ended, read at a cost that does not grow with how many of them wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import batched
from typing import Literal

from prefect.client.schemas.objects import FlowRun, StateType

from athanore import names
from athanore.runs import store
from athanore.runs.port import MOST_TAGS, RunQuery, RunStore
from athanore.runs.states import PrefectState

type Phase = Literal["waiting", "working", "stopping", "retrying"]

_PAGE = 200


def phase_of(run: FlowRun) -> Phase:
    """What a run that has not ended does."""
    if run.state_type is StateType.CANCELLING:
        return "stopping"
    if run.state_type is StateType.RUNNING:
        return "working"
    return "retrying" if run.state_name == PrefectState.AWAITING_RETRY else "waiting"


@dataclass(frozen=True, slots=True)
class OpenRuns:
    """The runs that work, and those of the given tasks that wait.

    Attributes:
        by_task: both, by their tasks.
        working: those that work.
        line: some of those that wait, of whatever task: the first, in the order of their times.
        is_whole: `line` has all that wait.
    """

    by_task: dict[str, FlowRun]
    working: list[FlowRun]
    line: list[FlowRun]
    is_whole: bool


async def of_tasks(
    prefect: RunStore, app: str, task_ids: Iterable[str], page: int = _PAGE
) -> OpenRuns:
    """Read all runs that work, and those of some tasks that wait.

    One request where few runs are open; else one for each page of working runs, and for each page
    of tasks.
    """
    first = await store.find_runs(prefect, app, (*store.WAITING, *store.WORKING), limit=page)
    if len(first) < page:
        return of_all(first)
    working = await store.find_runs(prefect, app, store.WORKING)
    known = _by_task([*first, *working])
    known |= await _waiting(prefect, app, [t for t in task_ids if t not in known], page)
    return OpenRuns(known, working, _waiting_of(first), is_whole=False)


async def renewed(
    prefect: RunStore, app: str, before: OpenRuns, task_ids: Iterable[str], page: int = _PAGE
) -> OpenRuns:
    """Read the runs that work anew, and what has become of those that did.

    Runs that wait stay as they were read before; one request where nothing has changed.

    Args:
        before: what was read earlier.
        task_ids: tasks whose waiting runs are read anew, too.
    """
    asked = frozenset(task_ids)
    working = await store.find_runs(prefect, app, store.WORKING)
    begun = {run.id for run in working}
    gone = [run.id for run in before.working if run.id not in begun]
    back: list[FlowRun] = []
    for some in batched(gone, page, strict=False):
        query = RunQuery(tags=[names.app_tag(app)], ids=some, states=store.WAITING)
        back += await prefect.find(query, limit=len(some))
    changed = begun.union(gone)
    known = {
        task_id: run
        for task_id, run in before.by_task.items()
        if run.id not in changed and task_id not in asked
    } | _by_task([*back, *working])
    known |= await _waiting(prefect, app, [t for t in asked if t not in known], page)
    line = [run for run in before.line if run.id not in changed]
    return OpenRuns(known, working, [*line, *back], is_whole=False)


def of_all(found: list[FlowRun]) -> OpenRuns:
    """All runs that have not ended, which were read in the order of their times."""
    working = [run for run in found if run.state_type in store.WORKING]
    return OpenRuns(_by_task(found), working, _waiting_of(found), is_whole=True)


def _waiting_of(found: Iterable[FlowRun]) -> list[FlowRun]:
    return [run for run in found if run.state_type not in store.WORKING]


async def count(
    prefect: RunStore, app: str, routes: Iterable[str], page: int = _PAGE
) -> Counter[tuple[str, Phase]]:
    """Count the open runs of each route in each phase.

    One request where few runs are open; else one for each page of working runs, and two for each
    route.

    Args:
        routes: the names of the app's routes.
    """
    first = await store.find_runs(prefect, app, (*store.WAITING, *store.WORKING), limit=page)
    if len(first) < page:
        return _tally(first)
    counts = _tally(await store.find_runs(prefect, app, store.WORKING))
    for route in routes:
        waiting = RunQuery(
            tags=[names.app_tag(app), names.AGENT_TAG, names.route_tag(route)],
            states=store.WAITING,
            not_named=[PrefectState.AWAITING_RETRY],
        )
        retrying = replace(waiting, not_named=(), named=waiting.not_named)
        counts[route, "retrying"] = await prefect.count(retrying)
        counts[route, "waiting"] = await prefect.count(waiting)
    return counts


def _tally(found: Iterable[FlowRun]) -> Counter[tuple[str, Phase]]:
    # Runs that were started by hand have no task yet; they only hand over.
    of_tasks = (run for run in found if names.task_of(run.tags) is not None)
    return Counter((names.route_of(run.parameters), phase_of(run)) for run in of_tasks)


def _by_task(found: Iterable[FlowRun]) -> dict[str, FlowRun]:
    """The runs by their tasks; a working one before a waiting one."""
    known: dict[str, FlowRun] = {}
    for run in found:
        task_id = names.task_of(run.tags)
        if task_id is not None and (task_id not in known or run.state_type in store.WORKING):
            known[task_id] = run
    return known


async def _waiting(
    prefect: RunStore, app: str, task_ids: Iterable[str], page: int
) -> dict[str, FlowRun]:
    """Read the runs that wait of some tasks, a page of tasks at a time."""
    wanted, known = dict.fromkeys(task_ids), dict[str, FlowRun]()
    for some in batched(wanted, min(page, MOST_TAGS), strict=False):
        tags = [names.task_tag(task_id) for task_id in some]
        query = RunQuery(
            tags=[names.app_tag(app), names.AGENT_TAG], any_tags=tags, states=store.WAITING
        )
        known |= _by_task(await prefect.find(query, limit=len(tags)))
    return known
