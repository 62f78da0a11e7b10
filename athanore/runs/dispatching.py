"""Creating the run that a task is due.

The idempotency key of a run is the lock on its task: (app, route, task, visit), where the visit is
the id of the task's last finished run. Whoever dispatches a task, and however many do at once, all
of them get the same run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.errors import DispatchError, TaskBusyError
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs.capacity import label_caps
from athanore.runs.connection.clock import Clock
from athanore.runs.port import NewRun, RunQuery, RunStore
from athanore.runs.records.record import RunRecord
from athanore.runs.store import FINISHED, FIRST_VISIT, WORKING, last_finished_runs

_MOST_VISITS = 200


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

    async def dispatch(self, prefect: RunStore, route: Route, task: Task) -> FlowRun:
        """Create the agent run that a task is due, or return the one that it has.

        Raises:
            DispatchError: the route has no deployment.
            TaskBusyError: an agent works on the task.
        """
        last = (await last_finished_runs(prefect, self._app, [task.id])).get(task.id)
        visit = str(last.id) if last else FIRST_VISIT
        return await self._create(prefect, route, Dispatch(task, visit, self._clock.now()))

    async def dispatch_all(
        self, prefect: RunStore, route: Route, due: Sequence[Dispatch], poll: UUID | None
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
        wanted = [self._run(route, each, str(poll or "")) for each in due]
        deployment = await self._deployment_id(prefect, name)
        try:
            answers = await prefect.create_all(deployment, wanted)
        except ObjectNotFound:
            # The deployment was made anew, or the server does not know this way.
            self._deployment_ids.pop((prefect.address, name), None)
            return await self._one_by_one(prefect, route, due)
        created: dict[str, UUID] = {}
        refused: list[str] = []
        for (task, _, _), answer in zip(due, answers, strict=True):
            if isinstance(answer, UUID):
                created[task.id] = answer
            else:
                refused.append(f"Prefect refused a run of task {task.id!r}: {answer}")
        # Where a visit was older than the newest: `last_finished_runs` sees a page of runs only.
        over = await _finished_among(prefect, created)
        again = [Dispatch(d.task, str(over[d.task.id]), d.due) for d in due if d.task.id in over]
        newer, busy = await self._one_by_one(prefect, route, again)
        fresh = {task_id: run_id for task_id, run_id in created.items() if task_id not in over}
        return fresh | newer, refused + busy

    async def _create(self, prefect: RunStore, route: Route, dispatch: Dispatch) -> FlowRun:
        name = _deployment(self._app, route)
        task = dispatch.task
        for _ in range(_MOST_VISITS):
            try:
                deployment = await self._deployment_id(prefect, name)
                run = await prefect.create(deployment, self._run(route, dispatch))
            except ObjectNotFound:
                # The deployment was made anew since we looked it up.
                if self._deployment_ids.pop((prefect.address, name), None) is None:
                    raise
                continue
            if run.state_type in WORKING:
                raise TaskBusyError(task.id, str(run.id), run.name)
            if run.state_type not in FINISHED:
                return run
            # An older visit than we knew of: take the next one.
            dispatch = dispatch._replace(visit=str(run.id))
        raise DispatchError(f"Task {task.id!r} has too many finished runs to find the next.")

    def _run(self, route: Route, dispatch: Dispatch, poll: str = "") -> NewRun:
        """The run of a task."""
        task, visit, due = dispatch
        limited = label_caps.dump(label_caps.limits_of(route, task))
        return NewRun(
            name=_run_name(task),
            due=due,
            parameters={"task_id": task.id},
            tags=[names.task_tag(task.id)],
            labels=RunRecord(poll=poll, labels=limited).dump(),
            key=names.run_key(self._app, route.name, task.id, visit),
        )

    async def _one_by_one(
        self, prefect: RunStore, route: Route, due: Iterable[Dispatch]
    ) -> tuple[dict[str, UUID], list[str]]:
        """Create runs one by one; that one task cannot have a run does not concern the others."""
        created: dict[str, UUID] = {}
        refused: list[str] = []
        for each in due:
            try:
                created[each.task.id] = (await self._create(prefect, route, each)).id
            except TaskBusyError as exc:
                refused.append(str(exc))
        return created, refused

    async def _deployment_id(self, prefect: RunStore, name: str) -> UUID:
        """Look up `flow/deployment`, remembering the answer.

        Raises:
            DispatchError: there is no such deployment.
        """
        key = (prefect.address, name)
        if key not in self._deployment_ids:
            try:
                self._deployment_ids[key] = (await prefect.deployment(name)).id
            except ObjectNotFound as exc:
                raise DispatchError(
                    f"Prefect has no deployment {name!r}; "
                    "run `athanore deploy` or `athanore up` first."
                ) from exc
        return self._deployment_ids[key]


async def _finished_among(prefect: RunStore, created: dict[str, UUID]) -> dict[str, UUID]:
    """Of runs by task, those that have ended already: their keys were old."""
    found = await prefect.find(RunQuery(ids=list(created.values()), states=FINISHED))
    over = {run.id for run in found}
    return {task_id: run_id for task_id, run_id in created.items() if run_id in over}


def _deployment(app: str, route: Route) -> str:
    return f"{names.AGENT_FLOW}/{names.deployment_name(app, route.name)}"


def _run_name(task: Task) -> str:
    """A run's name: the task's, on one line and short enough to read in a list."""
    name = " ".join(task.name.split()) or task.id
    return name if len(name) <= 120 else f"{name[:119]}…"
