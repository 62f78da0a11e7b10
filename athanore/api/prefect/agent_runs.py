"""Agent runs as the API shows them, read from Prefect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from athanore.api.memory.remembered import MAX_AGE, Remembered
from athanore.api.models import DispatchedModel, RunModel, RunRecordModel
from athanore.api.prefect.link import PrefectLink
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs import open_runs, store
from athanore.runs.capacity import pausing
from athanore.runs.links import ui_url
from athanore.runs.open_runs import Phase
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import Routes
from athanore.services import dead_letters, routes, runs
from athanore.services.runs import Dispatched
from athanore.services.status.machinery import Machinery, look_at_machinery

_ALL = (*store.WAITING, *store.WORKING, *store.FINISHED)
_FEW = 20


@dataclass(frozen=True, slots=True)
class TaskRuns:
    """What Prefect knows of a task: its active run, its newest one in any state, the last ones."""

    active: FlowRun | None
    newest: FlowRun | None
    last: tuple[FlowRun, ...] = ()

    @property
    def retry_count(self) -> int:
        """How often the newest run repeated its attempt."""
        return 0 if self.newest is None else record_of(self.newest).retries


class AgentRuns:
    """Finds and creates the agent runs of one app."""

    def __init__(self, app: App, prefect: PrefectLink) -> None:
        self._app = app
        self._prefect = prefect
        self._of_tasks = Remembered(self._read_task, MAX_AGE)

    async def routes(self, *, fresh: bool = False) -> Routes:
        """Return all routes, those of the code and those made over HTTP.

        Raises:
            PrefectUnavailableError: Prefect did not answer, and the app has to ask it.
        """
        registry = self._app.routes
        if not registry.is_open:
            return registry.in_code()
        async with self._prefect.client() as client:
            return await registry.read(client, fresh=fresh)

    async def working(self) -> list[FlowRun]:
        """Return the runs whose agents are at work, on any worker, the oldest first.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        async with self._prefect.client() as client:
            return await store.find_runs(client, self._app.name, store.WORKING)

    async def count(self, routes: Iterable[str]) -> Counter[tuple[str, Phase]]:
        """Count the open runs of each route in each phase.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        async with self._prefect.client() as client:
            return await open_runs.count(client, self._app.name, routes)

    async def machinery(self) -> Machinery:
        """Return what the app has in Prefect.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        async with self._prefect.client() as client:
            return await look_at_machinery(client, self._app, await self._app.routes.read(client))

    async def of_task(self, task_id: str, *, fresh: bool = False) -> TaskRuns:
        """Return what Prefect knows of a task, as it was at most 2 s ago.

        Args:
            fresh: as it is now: the task was changed just now.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        if fresh:
            self.changed(task_id)
        return await self._of_tasks.get(task_id)

    def changed(self, task_id: str) -> None:
        """Note that a run of a task was changed here: the next answer has it."""
        self._of_tasks.forget(task_id)

    def all_changed(self) -> None:
        """Note that runs of any task may have been changed here."""
        self._of_tasks.forget_all()

    async def _read_task(self, task_id: str) -> TaskRuns:
        found = await self.history(task_id)
        active = [r for r in found if r.state_type not in store.FINISHED]
        at_work = [r for r in active if r.state_type in store.WORKING]
        chosen = (at_work or active or [None])[0]
        return TaskRuns(chosen, chosen or (found[0] if found else None), tuple(found))

    async def history(self, task_id: str) -> list[FlowRun]:
        """Return the newest runs of a task, the newest first.

        Raises:
            PrefectUnavailableError: Prefect did not answer.
        """
        async with self._prefect.client() as client:
            return await store.find_runs(
                client,
                self._app.name,
                _ALL,
                task_ids=[task_id],
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=_FEW,
            )

    async def requeue(self, task: Task, by: str, route_name: str | None) -> Dispatched:
        """Give a dead letter a fresh start; see `dead_letters.requeue`."""
        with self._changing(task.id):
            return await dead_letters.requeue(self._prefect, self._app, task, by, route_name)

    async def pause(self, name: str) -> tuple[Route, tuple[str, ...]]:
        """Pause a route; return it and its paused parts; see `routes.pause`."""
        async with self._prefect.client() as client:
            route = await routes.pause(client, self._app, name)
            return route, await pausing.paused_parts(client, self._app.name, route.name)

    async def resume(self, name: str) -> tuple[Route, tuple[str, ...]]:
        """Let a route go on; return it and what is still paused; see `routes.resume`."""
        async with self._prefect.client() as client:
            route = await routes.resume(client, self._app, name)
            return route, await pausing.paused_parts(client, self._app.name, route.name)

    async def dispatch(self, task: Task, route_name: str | None = None) -> Dispatched:
        """Create the agent run of a task, or find the one that waits; see `runs.dispatch`."""
        with self._changing(task.id):
            async with self._prefect.client() as client:
                return await runs.dispatch(client, self._app, task, route_name)

    async def cancel(self, task: Task, by: str, reason: str) -> FlowRun:
        """Cancel the active run of a task and return it as it is then; see `runs.cancel`."""
        with self._changing(task.id):
            async with self._prefect.client() as client:
                done = await runs.cancel(client, self._app, task, by, reason)
                return await client.read_flow_run(done.run.id)

    @contextmanager
    def _changing(self, task_id: str) -> Generator[None]:
        try:
            yield
        finally:
            self.changed(task_id)


def run_model(run: FlowRun) -> RunModel:
    """A run for an answer."""
    return RunModel(
        id=str(run.id),
        name=run.name,
        state=run.state_name or "",
        queue_name=queue_of(run),
        route=store.route_name(run),
        attempt=record_of(run).attempt,
        worker=worker_of(run),
        url=run_url(run),
    )


def dispatched_model(done: Dispatched) -> DispatchedModel:
    """What a dispatch came to, for an answer."""
    return DispatchedModel(**run_model(done.run).model_dump(), created=done.created)


def run_record(run: FlowRun) -> RunRecordModel:
    """A run for a list of past ones."""
    return RunRecordModel(
        **run_model(run).model_dump(),
        message=(run.state.message or "") if run.state else "",
        started_at=run.start_time,
        ended_at=run.end_time,
    )


def queue_of(run: FlowRun) -> str:
    """The queue that the route of a run watches."""
    return str(run.parameters.get("queue_name") or "")


def worker_of(run: FlowRun) -> str | None:
    """Who runs it: the worker's name, once it has started; None for Prefect's own workers."""
    return record_of(run).worker or None


def run_url(run: FlowRun) -> str | None:
    """The run's page in Prefect's UI."""
    base = prefect_ui()
    return f"{base}/runs/flow-run/{run.id}" if base else None


def prefect_ui() -> str | None:
    """The address of Prefect's UI, if Prefect's address is known."""
    from prefect.settings import get_current_settings

    api = get_current_settings().api.url
    return ui_url(api) if api else None
