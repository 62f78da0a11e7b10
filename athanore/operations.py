"""What people do with tasks and routes, from the command line, the API or a board page.

Every function takes a Prefect client and an app, does one thing, and says what came of it; nothing
is printed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Cancelling

from athanore.errors import DispatchError, NotFoundError, TaskBusyError
from athanore.flows import control, ledger, pausing, runs
from athanore.flows.apps import App
from athanore.flows.registry import Routes
from athanore.models import Task
from athanore.routes import Route
from athanore.server import ui_url

_GIVEN_UP = (StateType.FAILED, StateType.CRASHED)


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The run that a dispatch came to; `created` is False if it was waiting already."""

    run: FlowRun
    route: str
    created: bool


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The run that was cancelled, as it was; `at_once` is False if its agent has to be stopped."""

    run: FlowRun
    at_once: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that was given up: in a dead-letter queue, or left in progress.

    `route`, `attempts` and what follows are None or empty for a task that a person put there.
    """

    task_id: str
    task_name: str
    queue_name: str
    route: str | None
    reason: str
    attempts: int | None
    last_output: str
    since: datetime | None
    run_id: str | None
    run_url: str | None


async def dispatch_task(
    client: PrefectClient, app: App, task_id: str, queue_name: str | None = None
) -> Dispatched:
    """Have an agent work on a task as soon as a slot is free.

    Args:
        queue_name: the route to take; a task that is elsewhere is moved to that queue first. By
            default the queue that the task is in.

    Raises:
        TaskNotFoundError: no task has this id.
        NotFoundError: no route watches `queue_name`.
        TaskBusyError: an agent works on the task.
        DispatchError: no route watches the queue that the task is in, or nothing is deployed.
    """
    task = await app.board.task(task_id)
    routes = await app.routes.read(client)
    if queue_name is not None:
        route_of(routes, queue_name)
    active = (await runs.active_runs(client, app.name, [task_id])).get(task_id)
    if active is not None:
        same = queue_name in (None, route_name(active))
        if active.state_type in runs.WORKING or not same:
            raise TaskBusyError(task_id, str(active.id), active.name)
        return Dispatched(active, route_name(active), created=False)
    known = routes.get(queue_name or task.queue_name)
    if known is None:
        raise DispatchError(
            f"Task {task_id!r} is in {task.queue_name!r}, which no route watches; "
            f"say which queue it shall go to: {_listed(routes)}."
        )
    route = known.route
    if task.queue_name != route.queue_name:
        await app.board.move(task_id, route.queue_name)
        task = replace(task, queue_name=route.queue_name)
    return await _dispatch(client, app, route, task)


async def cancel_task(client: PrefectClient, app: App, task_id: str, by: str) -> Cancellation:
    """Cancel a task's run: a waiting one at once, a working one as soon as its agent is stopped.

    Args:
        by: who cancels it, for the comment on the task.

    Raises:
        TaskNotFoundError: no task has this id, and no run has it either.
        DispatchError: no run of the task waits or works.
    """
    run = (await runs.active_runs(client, app.name, [task_id])).get(task_id)
    if run is None:
        task = await app.board.task(task_id)
        raise DispatchError(
            f"No agent run of task {task_id!r} ({task.name}) waits or works; "
            f"the task is in {task.queue_name!r}."
        )
    if run.state_type is StateType.CANCELLING:
        return Cancellation(run, at_once=False)
    # Only the server can tell in one step whether a worker has the run already. What still waits
    # it cancels itself, and forgets the message.
    answer = await client.set_flow_run_state(run.id, Cancelling(message=f"by {by}"))
    at_once = answer.state is not None and answer.state.type is StateType.CANCELLED
    if at_once:
        await client.set_flow_run_state(run.id, Cancelled(message=f"by {by}"), force=True)
    return Cancellation(run, at_once)


async def pause_route(client: PrefectClient, app: App, queue_name: str) -> None:
    """Stop a route's polls, and start no more agents; running agents are left alone.

    Raises:
        NotFoundError: no route watches the queue.
        DispatchError: the route is not deployed.
    """
    route_of(await app.routes.read(client), queue_name)
    await pausing.pause(client, app.name, queue_name)


async def resume_route(client: PrefectClient, app: App, queue_name: str) -> None:
    """Let a paused route go on.

    Raises:
        NotFoundError: no route watches the queue.
        DispatchError: the route is not deployed.
    """
    route_of(await app.routes.read(client), queue_name)
    await pausing.resume(client, app.name, queue_name)
    control.wake()


async def dead_letters(client: PrefectClient, app: App) -> list[DeadLetter]:
    """Return the tasks that were given up, queue by queue, in board order."""
    routes = await app.routes.read(client)
    tasks = await app.board.ready_tasks(sorted(resting_places(routes)))
    active = await runs.active_runs(client, app.name, [t.id for t in tasks])
    idle = [t for t in tasks if t.id not in active]
    last = await runs.last_finished_runs(client, app.name, [t.id for t in idle])
    letters = [dead_letter(client, routes, t, last.get(t.id)) for t in idle]
    return [letter for letter in letters if letter is not None]


def resting_places(routes: Routes) -> set[str]:
    """The queues where a task may lie that was given up."""
    return _graves(routes) | {k.route.in_progress_queue for k in routes.values()}


def dead_letter(
    client: PrefectClient, routes: Routes, task: Task, last: FlowRun | None
) -> DeadLetter | None:
    """What is known of an idle task in a resting place; None if it was not given up.

    Args:
        last: the task's newest finished run.
    """
    given_up = last is not None and last.state_type in _GIVEN_UP
    if not given_up and task.queue_name not in _graves(routes):
        return None
    return _dead_letter(client, task, last if given_up else None)


def requeue_target(routes: Routes, task: Task, last: FlowRun | None) -> Route | None:
    """The route that `requeue` starts again by default; None if that is not known."""
    try:
        return _route_of_dead_letter(routes, task, last)
    except DispatchError:
        return None


def _graves(routes: Routes) -> set[str]:
    """The dead-letter queues; not one that a route watches, which sees to its tasks."""
    graves = {k.route.dead_letter_queue for k in routes.values() if k.route.dead_letter_queue}
    return graves - set(routes)


async def requeue(
    client: PrefectClient, app: App, task_id: str, by: str, queue_name: str | None = None
) -> Dispatched:
    """Give a task that was given up, or left in progress, a fresh start with all its attempts.

    Args:
        by: who does it, for the comment on the task.
        queue_name: the route that starts again; by default the one that gave the task up.

    Raises:
        TaskNotFoundError: no task has this id.
        NotFoundError: no route watches `queue_name`.
        TaskBusyError: a run of the task waits or works.
        DispatchError: the task is no dead letter, or its route is not known.
    """
    task = await app.board.task(task_id)
    active = (await runs.active_runs(client, app.name, [task_id])).get(task_id)
    if active is not None:
        raise TaskBusyError(task_id, str(active.id), active.name)
    last = (await runs.last_finished_runs(client, app.name, [task_id])).get(task_id)
    routes = await app.routes.read(client)
    route = (
        route_of(routes, queue_name) if queue_name else _route_of_dead_letter(routes, task, last)
    )
    await app.board.comment(task_id, f"Requeued by {by}: fresh start in {route.queue_name!r}.")
    await app.board.move(task_id, route.queue_name)
    return await _dispatch(client, app, route, replace(task, queue_name=route.queue_name))


def route_of(routes: Routes, queue_name: str) -> Route:
    """Return the route that watches a queue.

    Raises:
        NotFoundError: there is none; the message names those that there are.
    """
    if queue_name not in routes:
        close = get_close_matches(queue_name, routes, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise NotFoundError(
            f"No route watches {queue_name!r}.{hint} Watched are: {_listed(routes)}."
        )
    return routes[queue_name].route


def route_name(run: FlowRun) -> str:
    """The queue whose route a run takes."""
    return str(run.parameters.get("queue_name", ""))


def prefect_ui(client: PrefectClient) -> str:
    """The address of Prefect's UI."""
    return ui_url(str(client.api_url).rstrip("/"))


def run_url(client: PrefectClient, run: FlowRun) -> str:
    """The run's page in Prefect's UI."""
    return f"{prefect_ui(client)}/runs/flow-run/{run.id}"


async def _dispatch(client: PrefectClient, app: App, route: Route, task: Task) -> Dispatched:
    run = await runs.dispatch(client, app.name, route, task)
    control.wake()
    return Dispatched(run, route.queue_name, created=True)


def _route_of_dead_letter(routes: Routes, task: Task, last: FlowRun | None) -> Route:
    if last is not None and (known := routes.get(route_name(last))) is not None:
        if task.queue_name in (known.route.in_progress_queue, known.route.dead_letter_queue):
            return known.route
    else:
        sources = [k.route for k in routes.values() if k.route.dead_letter_queue == task.queue_name]
        if len(sources) == 1:
            return sources[0]
        if sources:
            raise DispatchError(
                f"Task {task.id!r} has no run that says where it came from; say which queue it "
                f"shall go to: {_listed(r.queue_name for r in sources)}."
            )
    raise DispatchError(
        f"Task {task.id!r} is in {task.queue_name!r} and is no dead letter; "
        f"to have an agent work on it all the same, dispatch it to a queue: {_listed(routes)}."
    )


def _dead_letter(client: PrefectClient, task: Task, run: FlowRun | None) -> DeadLetter:
    if run is None or run.state is None:
        return DeadLetter(
            task.id,
            task.name,
            task.queue_name,
            None,
            "put here by hand",
            None,
            "",
            None,
            None,
            None,
        )
    reason, _, output = (run.state.message or run.state_name or "failed").partition("\n")
    return DeadLetter(
        task_id=task.id, task_name=task.name, queue_name=task.queue_name, route=route_name(run),
        reason=reason, attempts=ledger.attempt_of(run), last_output=output,
        since=run.state.timestamp, run_id=str(run.id), run_url=run_url(client, run),
    )  # fmt: skip


def _listed(queues: Iterable[str]) -> str:
    return ", ".join(repr(q) for q in queues) or "none"
