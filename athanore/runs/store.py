"""Agent runs in Prefect: finding and counting them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import batched
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import AsyncClientContext

from athanore import names
from athanore.runs.connection import transports
from athanore.runs.port import MOST_TAGS, RunQuery, RunStore
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import NOBODYS_WISH

WAITING = (StateType.SCHEDULED, StateType.PENDING, StateType.PAUSED)
WORKING = (StateType.RUNNING, StateType.CANCELLING)
NOT_TAKEN = (StateType.SCHEDULED, StateType.PAUSED)
"""Waiting, and no worker has it: a Pending run's engine would go on though it was cancelled."""

FINISHED = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)

FIRST_VISIT = "first"
"""The visit of a task that has no finished run."""

_PAGE = 200


def visit_of(run: FlowRun) -> str:
    """Which visit of its task a run is: `FIRST_VISIT`, or the id of the run before it."""
    return (run.idempotency_key or "").rpartition("/")[2]


@asynccontextmanager
async def prefect_client() -> AsyncGenerator[PrefectRunStore]:
    """The prefect of the worker that runs this flow, or a new one elsewhere.

    Not Prefect's `get_client()`: that overlooks a shared prefect with a transport of its own.
    """
    if (context := AsyncClientContext.get()) is not None:
        yield PrefectRunStore.of(context.client)
        return
    async with transports.prefect_client() as prefect:
        yield prefect


async def find_runs(
    prefect: RunStore,
    app: str,
    states: Sequence[StateType],
    *,
    task_ids: Iterable[str] | None = None,
    route: str | None = None,
    sort: FlowRunSort = FlowRunSort.EXPECTED_START_TIME_ASC,
    limit: int | None = None,
) -> list[FlowRun]:
    """Return an app's agent runs in the given states, of some tasks or of one route if wanted.

    Args:
        route: the name of the route.
        limit: at most so many; by default all of them, page by page.
    """
    tags = [names.app_tag(app), names.AGENT_TAG]
    if route is not None:
        tags.append(names.route_tag(route))
    chunks: list[list[str] | None] = [None]
    if task_ids is not None:
        wanted = [names.task_tag(t) for t in dict.fromkeys(task_ids)]
        chunks = [[*some] for some in batched(wanted, MOST_TAGS, strict=False)]
    found: list[FlowRun] = []
    for chunk in chunks:
        query = RunQuery(tags=tags, any_tags=chunk or (), states=states)
        offset = 0
        while True:
            page = await prefect.find(
                query, sort=sort, limit=min(limit or _PAGE, _PAGE), offset=offset
            )
            found += page
            offset += len(page)
            if len(page) < _PAGE or (limit is not None and offset >= limit):
                break
    return found


async def ended_since(
    prefect: RunStore,
    app: str,
    since: datetime,
    *,
    route: str | None = None,
    most: int | None = None,
) -> list[FlowRun]:
    """Return the app's agent runs that have ended since a moment, the newest first.

    Args:
        route: only those of this route.
        most: at most about so many; by default all of them, page by page.
    """
    tags = [names.app_tag(app), names.AGENT_TAG]
    if route is not None:
        tags.append(names.route_tag(route))
    query = RunQuery(tags=tags, states=FINISHED, ended_after=since)
    found: list[FlowRun] = []
    while most is None or len(found) < most:
        page = await prefect.find(
            query, sort=FlowRunSort.END_TIME_DESC, limit=_PAGE, offset=len(found)
        )
        found += page
        if len(page) < _PAGE:
            break
    # Those that were started by hand only hand over to the run that has the task.
    return [r for r in found if names.task_of(r.tags) is not None]


async def count_waiting(prefect: RunStore, app: str, route: str) -> int:
    """Count a route's runs that no worker has taken, however many they are, at the same cost."""
    return await _count(prefect, NOT_TAKEN, [names.app_tag(app), names.route_tag(route)])


async def count_working(
    prefect: RunStore,
    app: str,
    *,
    but: Collection[UUID] = (),
    task_id: str | None = None,
    queue_id: UUID | None = None,
) -> int:
    """Count an app's agent runs that work, however many they are, at the same cost.

    Args:
        but: do not count these.
        task_id: only runs of this task.
        queue_id: only runs of this work queue.
    """
    tags = [names.app_tag(app)] + ([] if task_id is None else [names.task_tag(task_id)])
    return await _count(prefect, WORKING, tags, but, queue_id)


async def count_taken(prefect: RunStore, app: str, *, but: Collection[UUID] = ()) -> int:
    """Count an app's agent runs that a worker has taken and not ended, at the same cost.

    Args:
        but: do not count these.
    """
    return await _count(prefect, (StateType.PENDING, *WORKING), [names.app_tag(app)], but)


async def _count(
    prefect: RunStore,
    states: Sequence[StateType],
    tags: list[str],
    but: Collection[UUID] = (),
    queue_id: UUID | None = None,
) -> int:
    return await prefect.count(
        RunQuery(tags=[*tags, names.AGENT_TAG], states=states, but=but, queue=queue_id)
    )


async def find_polls(
    prefect: RunStore, app: str, route: str | None, states: Sequence[StateType]
) -> list[FlowRun]:
    """Return up to 200 polls of a route, or of all, in the given states."""
    tags = [names.app_tag(app), names.POLL_TAG]
    if route is not None:
        tags.append(names.route_tag(route))
    return await prefect.find(RunQuery(tags=tags, states=states), limit=_PAGE)


async def active_runs(
    prefect: RunStore, app: str, task_ids: Iterable[str] | None = None
) -> dict[str, FlowRun]:
    """Return the runs that wait or work, by task id; a working one before a waiting one."""
    found = await active_by_task(prefect, app, task_ids)
    return {
        task_id: next((r for r in mine if r.state_type in WORKING), mine[0])
        for task_id, mine in found.items()
    }


async def active_by_task(
    prefect: RunStore, app: str, task_ids: Iterable[str] | None = None
) -> dict[str, list[FlowRun]]:
    """Return all runs that wait or work, by task id; not those that name no task."""
    found: dict[str, list[FlowRun]] = {}
    for run in await find_runs(prefect, app, (*WAITING, *WORKING), task_ids=task_ids):
        if (task_id := names.task_of(run.tags)) is not None:
            found.setdefault(task_id, []).append(run)
    return found


def route_name(run: FlowRun) -> str:
    """The name of the route that a run takes."""
    return names.route_of(run.parameters)


def is_retried_by_hand(run: FlowRun) -> bool:
    """Tell whether a person asked for another try of a finished run in Prefect's UI.

    Such a run takes its task from where it was left: in progress, or in the dead-letter queue.
    """
    # Prefect notes it on the run where the state was proposed, and not where it was forced.
    return run.empirical_policy.retry_type == "reschedule" or record_of(run).is_closed


async def last_finished_runs(
    prefect: RunStore, app: str, task_ids: Sequence[str], *, telling: bool = False
) -> dict[str, FlowRun]:
    """Return the newest finished run of each task that has one.

    Args:
        telling: rather an older one than one that found nothing to do, which says nothing of the
            task.
    """
    found: dict[str, FlowRun] = {}
    if not task_ids:
        return found
    runs = await find_runs(
        prefect, app, FINISHED, task_ids=task_ids, sort=FlowRunSort.END_TIME_DESC, limit=_PAGE
    )
    for run in runs:
        task_id = names.task_of(run.tags)
        if task_id is None:
            continue
        if telling and task_id in found and found[task_id].state_name in NOBODYS_WISH:
            found[task_id] = run
        found.setdefault(task_id, run)
    return found
