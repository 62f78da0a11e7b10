"""Creating the run that a task is due.

The idempotency key of a run is the lock on its task: (app, route, task, visit), where the visit is
the id of the task's last finished run. Whoever dispatches a task, and however many do at once, all
of them get the same run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Scheduled

from athanore import names
from athanore.errors import DispatchError, TaskBusyError
from athanore.models import Task
from athanore.routes import Route
from athanore.runs.connection.clock import Clock
from athanore.runs.record import RunRecord
from athanore.runs.states import PrefectState
from athanore.runs.store import FINISHED, FIRST_VISIT, WORKING, last_finished_runs

_MOST_VISITS = 200
_NO_SUCH_PLACE = frozenset({404, 405})


class Dispatch(NamedTuple):
    """A task that is due a run."""

    task: Task
    visit: str
    """What `last_finished_runs` said of the task: `str(run.id)` or `FIRST_VISIT`."""
    due: datetime


class Dispatching:
    """Creates the runs of an app's tasks.

    Args:
        app: the app's name.
        clock: tells when a run is due that is due now.
    """

    def __init__(self, app: str, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        # By the address of Prefect and the name: they change only when a deployment is made anew.
        self._deployment_ids: dict[tuple[str, str], UUID] = {}

    async def dispatch(self, client: PrefectClient, route: Route, task: Task) -> FlowRun:
        """Create the agent run that a task is due, or return the one that it has.

        Raises:
            DispatchError: the route has no deployment.
            TaskBusyError: an agent works on the task.
        """
        last = (await last_finished_runs(client, self._app, [task.id])).get(task.id)
        visit = str(last.id) if last else FIRST_VISIT
        return await self._create(client, route, Dispatch(task, visit, self._clock.now()))

    async def dispatch_all(
        self, client: PrefectClient, route: Route, due: Sequence[Dispatch], poll: UUID | None
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
        name = _deployment(self._app, route)
        wanted: list[dict[str, Any]] = []
        for task, visit, at in due:
            wanted.append(
                {
                    "name": _run_name(task),
                    "parameters": {"task_id": task.id},
                    # They are ours, and right: the check costs more than the rest.
                    "enforce_parameter_schema": False,
                    "tags": [names.task_tag(task.id)],
                    "labels": RunRecord(poll=str(poll or "")).dump(),
                    "idempotency_key": names.run_key(self._app, route.name, task.id, visit),
                    "state": {
                        "type": "SCHEDULED",
                        "name": PrefectState.SCHEDULED,
                        "state_details": {"scheduled_time": at.isoformat()},
                    },
                }
            )
        deployment = await self._deployment_id(client, name)
        path = cast(Any, f"/deployments/{deployment}/create_flow_run/bulk")
        try:
            response = await client.request("POST", path, json=wanted)
        except PrefectHTTPStatusError as exc:
            if exc.response.status_code not in _NO_SUCH_PLACE:
                raise
            # The deployment was made anew, or the server does not know this way.
            self._deployment_ids.pop((str(client.api_url), name), None)
            return await self._one_by_one(client, route, due)
        created: dict[str, UUID] = {}
        refused: list[str] = []
        for (task, _, _), result in zip(due, response.json()["results"], strict=True):
            if result["status"] == "CREATED":
                created[task.id] = UUID(result["flow_run_id"])
            else:
                refused.append(f"Prefect refused a run of task {task.id!r}: {result['error']}")
        # Where a visit was older than the newest: `last_finished_runs` sees a page of runs only.
        over = await _finished_among(client, created)
        again = [Dispatch(d.task, str(over[d.task.id]), d.due) for d in due if d.task.id in over]
        newer, busy = await self._one_by_one(client, route, again)
        fresh = {task_id: run_id for task_id, run_id in created.items() if task_id not in over}
        return fresh | newer, refused + busy

    async def _create(self, client: PrefectClient, route: Route, dispatch: Dispatch) -> FlowRun:
        name = _deployment(self._app, route)
        task, visit, due = dispatch
        for _ in range(_MOST_VISITS):
            try:
                run = await client.create_flow_run_from_deployment(
                    await self._deployment_id(client, name),
                    parameters={"task_id": task.id},
                    state=Scheduled(scheduled_time=due),
                    name=_run_name(task),
                    tags=[names.task_tag(task.id)],
                    idempotency_key=names.run_key(self._app, route.name, task.id, visit),
                )
            except (ObjectNotFound, PrefectHTTPStatusError) as exc:
                # The deployment was made anew since we looked it up.
                answered = isinstance(exc, PrefectHTTPStatusError)
                if answered and exc.response.status_code not in _NO_SUCH_PLACE:
                    raise
                if self._deployment_ids.pop((str(client.api_url), name), None) is None:
                    raise
                continue
            if run.state_type in WORKING:
                raise TaskBusyError(task.id, str(run.id), run.name)
            if run.state_type not in FINISHED:
                return run
            visit = str(run.id)  # an older visit than we knew of: take the next one
        raise DispatchError(f"Task {task.id!r} has too many finished runs to find the next.")

    async def _one_by_one(
        self, client: PrefectClient, route: Route, due: Iterable[Dispatch]
    ) -> tuple[dict[str, UUID], list[str]]:
        """Create runs one by one; that one task cannot have a run does not concern the others."""
        created: dict[str, UUID] = {}
        refused: list[str] = []
        for each in due:
            try:
                created[each.task.id] = (await self._create(client, route, each)).id
            except TaskBusyError as exc:
                refused.append(str(exc))
        return created, refused

    async def _deployment_id(self, client: PrefectClient, name: str) -> UUID:
        """Look up `flow/deployment`, remembering the answer.

        Raises:
            DispatchError: there is no such deployment.
        """
        key = (str(client.api_url), name)
        if key not in self._deployment_ids:
            try:
                self._deployment_ids[key] = (await client.read_deployment_by_name(name)).id
            except ObjectNotFound as exc:
                raise DispatchError(
                    f"Prefect has no deployment {name!r}; "
                    "run `athanore deploy` or `athanore up` first."
                ) from exc
        return self._deployment_ids[key]


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
