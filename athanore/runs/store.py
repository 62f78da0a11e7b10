"""Agent runs in Prefect: finding them, and creating the one that a task is due.

The idempotency key of a run is the lock on its task: (app, route, task, visit), where the visit is
the id of the task's last finished run. Whoever dispatches a task, and however many do at once, all
of them get the same run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import AsyncClientContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Scheduled

from athanore import names
from athanore.errors import DispatchError, TaskBusyError
from athanore.models import Task
from athanore.routes import Route
from athanore.runs import clock, transports
from athanore.runs.record import RunRecord
from athanore.runs.states import PrefectState

WAITING = (StateType.SCHEDULED, StateType.PENDING, StateType.PAUSED)
WORKING = (StateType.RUNNING, StateType.CANCELLING)
NOT_TAKEN = (StateType.SCHEDULED, StateType.PAUSED)
"""Waiting, and no worker has it: a Pending run's engine would go on though it was cancelled."""

FINISHED = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)

FIRST_VISIT = "first"
"""The visit of a task that has no finished run."""


_PAGE = 200
_TAGS_PER_QUERY = 50
_NO_SUCH_PLACE = frozenset({404, 405})

# Deployment ids by (API address, name): they change only when a deployment is made anew.
_deployment_ids: dict[tuple[str, str], UUID] = {}


def visit_of(run: FlowRun) -> str:
    """Which visit of its task a run is: `FIRST_VISIT`, or the id of the run before it."""
    return (run.idempotency_key or "").rpartition("/")[2]


@asynccontextmanager
async def prefect_client() -> AsyncGenerator[PrefectClient]:
    """The client of the worker that runs this flow, or a new one elsewhere.

    Not Prefect's `get_client()`: that overlooks a shared client with a transport of its own.
    """
    if (context := AsyncClientContext.get()) is not None:
        yield context.client
        return
    async with transports.prefect_client() as client:
        yield client


async def find_runs(
    client: PrefectClient,
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
        chunks = [wanted[i : i + _TAGS_PER_QUERY] for i in range(0, len(wanted), _TAGS_PER_QUERY)]
    found: list[FlowRun] = []
    for chunk in chunks:
        query = FlowRunFilter(
            tags=FlowRunFilterTags(all_=tags, any_=chunk)
            if chunk
            else FlowRunFilterTags(all_=tags),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        )
        offset = 0
        while True:
            page = await client.read_flow_runs(
                flow_run_filter=query, sort=sort, limit=min(limit or _PAGE, _PAGE), offset=offset
            )
            found += page
            offset += len(page)
            if len(page) < _PAGE or (limit is not None and offset >= limit):
                break
    return found


async def count_waiting(client: PrefectClient, app: str, route: str) -> int:
    """Count a route's runs that no worker has taken, however many they are, at the same cost."""
    return await _count(client, NOT_TAKEN, [names.app_tag(app), names.route_tag(route)])


async def count_working(
    client: PrefectClient,
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
    return await _count(client, WORKING, tags, but, queue_id)


async def _count(
    client: PrefectClient,
    states: Sequence[StateType],
    tags: list[str],
    but: Collection[UUID] = (),
    queue_id: UUID | None = None,
) -> int:
    query: dict[str, Any] = {
        "flow_runs": {
            "tags": {"all_": [*tags, names.AGENT_TAG]},
            "state": {"type": {"any_": [state.value for state in states]}},
            "id": {"not_any_": [str(i) for i in but]} if but else None,
        }
    }
    if queue_id is not None:
        query["work_pool_queues"] = {"id": {"any_": [str(queue_id)]}}
    response = await client.request("POST", cast(Any, "/flow_runs/count"), json=query)
    return int(response.json())


async def find_polls(
    client: PrefectClient, app: str, route: str, states: Sequence[StateType]
) -> list[FlowRun]:
    """Return up to 200 polls of a route in the given states."""
    tags = [names.app_tag(app), names.POLL_TAG, names.route_tag(route)]
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=tags),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=_PAGE,
        offset=0,
    )


async def active_runs(
    client: PrefectClient, app: str, task_ids: Iterable[str] | None = None
) -> dict[str, FlowRun]:
    """Return the runs that wait or work, by task id; a working one before a waiting one."""
    found = await active_by_task(client, app, task_ids)
    return {
        task_id: next((r for r in mine if r.state_type in WORKING), mine[0])
        for task_id, mine in found.items()
    }


async def active_by_task(
    client: PrefectClient, app: str, task_ids: Iterable[str] | None = None
) -> dict[str, list[FlowRun]]:
    """Return all runs that wait or work, by task id; not those that name no task."""
    found: dict[str, list[FlowRun]] = {}
    for run in await find_runs(client, app, (*WAITING, *WORKING), task_ids=task_ids):
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
    return run.empirical_policy.retry_type == "reschedule"


async def last_finished_runs(
    client: PrefectClient, app: str, task_ids: Sequence[str]
) -> dict[str, FlowRun]:
    """Return the newest finished run of each task that has one."""
    found: dict[str, FlowRun] = {}
    if not task_ids:
        return found
    runs = await find_runs(
        client, app, FINISHED, task_ids=task_ids, sort=FlowRunSort.END_TIME_DESC, limit=_PAGE
    )
    for run in runs:
        task_id = names.task_of(run.tags)
        if task_id is not None:
            found.setdefault(task_id, run)
    return found


async def deployment_id(client: PrefectClient, name: str) -> UUID:
    """Look up `flow/deployment`, remembering the answer.

    Raises:
        DispatchError: there is no such deployment.
    """
    key = (str(client.api_url), name)
    if key not in _deployment_ids:
        try:
            _deployment_ids[key] = (await client.read_deployment_by_name(name)).id
        except ObjectNotFound as exc:
            raise DispatchError(
                f"Prefect has no deployment {name!r}; run `athanore deploy` or `athanore up` first."
            ) from exc
    return _deployment_ids[key]


class Dispatch(NamedTuple):
    """A task that is due a run."""

    task: Task
    visit: str
    """What `last_finished_runs` said of the task: `str(run.id)` or `FIRST_VISIT`."""
    scheduled_time: datetime | None = None


async def dispatch(
    client: PrefectClient,
    app: str,
    route: Route,
    task: Task,
    *,
    parameters: dict[str, Any] | None = None,
) -> FlowRun:
    """Create the agent run that a task is due, or return the one that it has.

    Raises:
        DispatchError: the route has no deployment.
        TaskBusyError: an agent works on the task.
    """
    last = (await last_finished_runs(client, app, [task.id])).get(task.id)
    visit = str(last.id) if last else FIRST_VISIT
    return await _dispatch_one(client, app, route, Dispatch(task, visit), parameters)


async def _dispatch_one(
    client: PrefectClient,
    app: str,
    route: Route,
    due: Dispatch,
    parameters: dict[str, Any] | None = None,
) -> FlowRun:
    name = _deployment(app, route)
    task, visit = due.task, due.visit
    for _ in range(_PAGE):
        try:
            run = await client.create_flow_run_from_deployment(
                await deployment_id(client, name),
                parameters={"task_id": task.id, **(parameters or {})},
                state=Scheduled(scheduled_time=due.scheduled_time or clock.now()),
                name=_run_name(task),
                tags=[names.task_tag(task.id)],
                idempotency_key=names.run_key(app, route.name, task.id, visit),
            )
        except (ObjectNotFound, PrefectHTTPStatusError) as exc:
            # The deployment was made anew since we looked it up.
            answered = isinstance(exc, PrefectHTTPStatusError)
            if answered and exc.response.status_code not in _NO_SUCH_PLACE:
                raise
            if _deployment_ids.pop((str(client.api_url), name), None) is None:
                raise
            continue
        if run.state_type in WORKING:
            raise TaskBusyError(task.id, str(run.id), run.name)
        if run.state_type not in FINISHED:
            return run
        visit = str(run.id)  # an older visit than we knew of: take the next one
    raise DispatchError(f"Task {task.id!r} has too many finished runs to find the next.")


async def dispatch_all(
    client: PrefectClient, app: str, route: Route, due: Sequence[Dispatch], poll: UUID | None
) -> tuple[dict[str, UUID], list[str]]:
    """Create the runs that up to 100 tasks are due, in one request.

    A task that has a run gets no second one, as with `dispatch`.

    Args:
        poll: the poll that found the tasks; the runs are labelled with it.

    Raises:
        DispatchError: the route has no deployment.

    Returns the runs' ids by task, and why the others have none: Prefect refused it, or an agent
    works on the task by now.
    """
    name = _deployment(app, route)
    wanted: list[dict[str, Any]] = []
    for task, visit, scheduled_time in due:
        details = {"scheduled_time": scheduled_time.isoformat() if scheduled_time else None}
        wanted.append(
            {
                "name": _run_name(task),
                "parameters": {"task_id": task.id},
                # They are ours, and right: the check costs more than the rest.
                "enforce_parameter_schema": False,
                "tags": [names.task_tag(task.id)],
                "labels": RunRecord(poll=str(poll or "")).dump(),
                "idempotency_key": names.run_key(app, route.name, task.id, visit),
                "state": {
                    "type": "SCHEDULED",
                    "name": PrefectState.SCHEDULED,
                    "state_details": details,
                },
            }
        )
    deployment = await deployment_id(client, name)
    path = cast(Any, f"/deployments/{deployment}/create_flow_run/bulk")
    try:
        response = await client.request("POST", path, json=wanted)
    except PrefectHTTPStatusError as exc:
        if exc.response.status_code not in _NO_SUCH_PLACE:
            raise
        # The deployment was made anew, or the server does not know this way.
        _deployment_ids.pop((str(client.api_url), name), None)
        return await _one_by_one(client, app, route, due)
    created: dict[str, UUID] = {}
    refused: list[str] = []
    for (task, _, _), result in zip(due, response.json()["results"], strict=True):
        if result["status"] == "CREATED":
            created[task.id] = UUID(result["flow_run_id"])
        else:
            refused.append(f"Prefect refused a run of task {task.id!r}: {result['error']}")
    # Where a visit was older than the newest: `last_finished_runs` sees a page of runs only.
    over = await _finished_among(client, created)
    again = [Dispatch(d.task, str(over[d.task.id])) for d in due if d.task.id in over]
    newer, busy = await _one_by_one(client, app, route, again)
    fresh = {task_id: run_id for task_id, run_id in created.items() if task_id not in over}
    return fresh | newer, refused + busy


async def _one_by_one(
    client: PrefectClient, app: str, route: Route, due: Iterable[Dispatch]
) -> tuple[dict[str, UUID], list[str]]:
    """Create runs one after the other; that one task cannot have one does not concern the rest."""
    created: dict[str, UUID] = {}
    refused: list[str] = []
    for each in due:
        try:
            created[each.task.id] = (await _dispatch_one(client, app, route, each)).id
        except TaskBusyError as exc:
            refused.append(str(exc))
    return created, refused


async def _finished_among(client: PrefectClient, created: dict[str, UUID]) -> dict[str, UUID]:
    """Of runs by task, those that have ended already: their keys were old."""
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            id=FlowRunFilterId(any_=list(created.values())),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(FINISHED))),
        )
    )
    over = {run.id for run in found}
    return {task_id: run_id for task_id, run_id in created.items() if run_id in over}


def _deployment(app: str, route: Route) -> str:
    return f"{names.AGENT_FLOW}/{names.deployment_name(app, route.name)}"


def _run_name(task: Task) -> str:
    """A run's name: the task's, on one line and short enough to read in a list."""
    name = " ".join(task.name.split()) or task.id
    return name if len(name) <= 120 else f"{name[:119]}…"
