"""Ending the runs of a route that is gone: it was removed, or renamed without `was=`.

No agent starts for such a route any more, so nothing is repeated: what an attempt came to is told,
a task without a result goes back to its queue, and the run is over. Where the task belongs was kept
in the record of the run (`runs.route_record`).

A route that this process lacks is gone only if Prefect has no deployment of it, or one whose
removal has begun. Else another worker has the route: while an app is upgraded, there are two.
"""

from __future__ import annotations

from dataclasses import replace

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Failed

from athanore import names
from athanore.errors import NotFoundError, QueueNotFoundError, RouteError
from athanore.flows.ends import hooks
from athanore.flows.ends.outcome import Conclusion
from athanore.flows.sweeping.recovery import Recovery
from athanore.models import AgentResult
from athanore.routing.route_options import QUEUE_OPTIONS
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.records.route_record import RouteRecord
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime import starts
from athanore.runtime.apps import App

_NEVER = 10**9
"""Failures that pause a route that is gone: there is nothing to pause."""


async def last_known(prefect: RunStore, app: App, run: FlowRun) -> Route | None:
    """The route of a run as its last start knew it, if it is gone; None if somebody has it."""
    name = store.route_name(run)
    tags = ["athanore", names.app_tag(app.name), names.AGENT_TAG, names.route_tag(name)]
    deployments = await prefect.deployments(tags)
    if any(names.LEAVING_TAG not in d.tags for d in deployments):
        return None
    return as_recorded(app, run)


def as_recorded(app: App, run: FlowRun) -> Route:
    """The route of a run as its last start knew it; without one, as a route of the app may be."""
    recorded = RouteRecord.parse(record_of(run).route)
    queue_name = recorded.queue_name if recorded else str(run.parameters.get("queue_name"))
    said = dict(recorded or ()) | {"name": store.route_name(run)}
    queues = {n: said[n] for n in QUEUE_OPTIONS if n in said and n != "queue_name"}
    route = app.dispatcher.default_route(queue_name, _no_prompt, **queues)
    said = {n: v for n, v in said.items() if n not in ("queue_name", "publish")}
    return replace(route, pause_after_failures=_NEVER, **said)


def _no_prompt(task_id: str, task_name: str) -> str:
    raise RouteError(f"The route of task {task_id!r} ({task_name}) is gone.")


class Ending(Recovery):
    """Ends a run of a route that is gone."""

    async def end_waiting(self, run: FlowRun, task_id: str) -> None:
        """End a waiting run that has to tell the board something, or may have its task."""
        if await starts.is_over(self._prefect, self._app, run):
            await self._apart(task_id, self._end(run, task_id, record_of(run).undelivered))

    async def return_crashed(self, run: FlowRun, task_id: str) -> None:
        if await starts.is_over(self._prefect, self._app, run):
            record = record_of(run)
            result = record.result if record.is_of_count(run.run_count) else None
            await self._end(run, task_id, result)

    async def _reschedule(self, run: FlowRun, why: str) -> None:
        task_id = names.task_of(run.tags)
        if task_id is not None:
            await self._apart(task_id, self._end(run, task_id, record_of(run).undelivered))

    async def _end(self, run: FlowRun, task_id: str, result: AgentResult | None) -> None:
        """Do what is due to a run's task, and end the run."""
        book = RunLog(self._prefect, run, self._route.retry)
        again = result is not None and result.retryable and book.attempts_left
        if result is None or not result.counts or (again and not result.succeeded):
            state = await self._return(run, task_id, result)
        elif result.succeeded and self._has_a_branch(run):
            state = self._not_published()
        else:
            where = (self._app, self._route, book, task_id, self._log)
            state = await Conclusion(*where, interrupted=True).follow(result)
        if state.is_failed():
            await hooks.bury_failed(self._app, self._route, run, state, self._log)
        await self._prefect.impose(run.id, state)
        await book.close()
        self.notes.append(f"{run.name!r}: {state.message}")

    async def _return(self, run: FlowRun, task_id: str, result: AgentResult | None) -> State[None]:
        """Put a task back that an agent may have had, for whichever route watches its queue now."""
        board, route = self._app.board, self._route
        name, queue = route.name, route.queue_name
        failed = "" if result is None else f" Its agent had failed ({result.reason})."
        try:
            place = (await board.task(task_id)).queue_name
        except NotFoundError:
            place = None
        if place is not None and self.has_put(run, place):
            text = f"Route {name!r} is gone; the task was returned to {queue!r}.{failed}"
            await hooks.comment_once(board, task_id, text)
            try:
                await board.move(task_id, queue)
            except QueueNotFoundError as exc:
                await self._tell(task_id, f"{exc} The task stays in {place!r}.")
        return Cancelled(name=StateName.ROUTE_REMOVED, message=f"Route {name!r} is gone.{failed}")

    def _has_a_branch(self, run: FlowRun) -> bool:
        recorded = RouteRecord.parse(record_of(run).route)
        return recorded is not None and recorded.publish is not None

    def _not_published(self) -> State[None]:
        text = (
            f"Route {self._route.name!r} is gone; what the agent committed for it was not "
            "published, and is in the task's workspace."
        )
        return Failed(name=StateName.NOT_PUBLISHED, message=text)


async def waiting(prefect: RunStore, app: App) -> list[tuple[FlowRun, str]]:
    """Waiting runs of routes whose removal has begun, as far as something is due to their tasks.

    Each with the id of its task.
    """
    found: list[tuple[FlowRun, str]] = []
    tags = ["athanore", names.app_tag(app.name), names.AGENT_TAG, names.LEAVING_TAG]
    for deployment in await prefect.deployments(tags):
        route = names.route_of(deployment.parameters)
        for run in await store.find_runs(prefect, app.name, store.NOT_TAKEN, route=route):
            task_id = names.task_of(run.tags)
            if task_id is not None and record_of(run).awaits_the_board:
                found.append((run, task_id))
    return found
