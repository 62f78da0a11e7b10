"""Tasks that were given up: which there are, and giving them a fresh start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from prefect.client.schemas.objects import FlowRun, StateType

from athanore.errors import (
    AnswerLostError,
    DispatchError,
    PrefectUnavailableError,
    TaskBusyError,
)
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.links import run_url
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.store import route_name
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import listed, watched
from athanore.runtime.routes.route_registry import Routes, called
from athanore.services import runs
from athanore.services.access import PrefectAccess
from athanore.services.owners import owner_of
from athanore.services.runs import Dispatched
from athanore.services.showing.views import DeadLetter

type AtRest = Sequence[tuple[Task, FlowRun | None]]
"""Idle tasks where dead letters may be, each with its newest finished run."""

_GIVEN_UP = (StateType.FAILED, StateType.CRASHED)


async def read_all(prefect: RunStore, app: App) -> list[DeadLetter]:
    """Return the tasks that were given up, queue by queue, in board order."""
    routes = await app.routes.read(prefect)
    return given_up(prefect, routes, await at_rest(prefect, app, routes))


async def at_rest(prefect: RunStore, app: App, routes: Routes) -> AtRest:
    """Read the idle tasks where dead letters may be, queue by queue, in board order."""
    # One that is gone from the board is no reason not to tell of the others.
    there = [q.name for q in await app.board.queues()]
    resting = await app.board.ready_tasks([q for q in there if q in places(routes)])
    return await idle(prefect, app, resting)


async def idle(prefect: RunStore, app: App, tasks: Iterable[Task]) -> AtRest:
    """Those of some tasks that no run holds, each with its newest finished run."""
    resting = list(tasks)
    active = await store.active_runs(prefect, app.name, [t.id for t in resting])
    nobodys = [t for t in resting if t.id not in active]
    last = await store.last_finished_runs(prefect, app.name, [t.id for t in nobodys], telling=True)
    return [(t, last.get(t.id)) for t in nobodys]


def given_up(prefect: RunStore, routes: Routes, found: AtRest) -> list[DeadLetter]:
    """Those of the tasks that were given up."""
    letters = [dead_letter(prefect, routes, task, last) for task, last in found]
    return [letter for letter in letters if letter is not None]


def places(routes: Routes) -> set[str]:
    """The queues where a task may lie that was given up."""
    return _dead_letter_queues(routes) | {k.route.in_progress_queue for k in routes.values()}


def dead_letter(
    prefect: RunStore, routes: Routes, task: Task, last: FlowRun | None
) -> DeadLetter | None:
    """What is known of an idle task where dead letters may be; None if it was not given up.

    Args:
        last: the task's newest finished run.
    """
    has_failed = last is not None and last.state_type in _GIVEN_UP
    if not has_failed and task.queue_name not in _dead_letter_queues(routes):
        return None
    return _dead_letter(prefect, task, last if has_failed else None)


def requeue_target(
    routes: Routes, task: Task, last: FlowRun | None, user: str | None
) -> Route | None:
    """The route that `requeue` starts again by default; None if that is not known.

    Args:
        user: whom claims assign: a card in progress that has no run is a person's without.
    """
    is_given_up = task.queue_name in _dead_letter_queues(routes)
    if last is None and not is_given_up and user not in task.assignees:
        return None
    try:
        return _route_of_dead_letter(routes, task, last)
    except DispatchError:
        return None


def _dead_letter_queues(routes: Routes) -> set[str]:
    """The dead-letter queues; not one that a route watches, which sees to its tasks."""
    queues = {k.route.dead_letter_queue for k in routes.values() if k.route.dead_letter_queue}
    return queues - set(watched(routes))


async def requeue(
    access: PrefectAccess, app: App, task: Task, by: str, route_name: str | None = None
) -> Dispatched:
    """Give a task that was given up, or left in progress, a fresh start with all its attempts.

    Args:
        task: as it was just read from the board.
        by: who does it, for the comment on the task.
        route_name: the route that starts again, or its queue; by default the queue of the one that
            gave the task up. Of several routes there it is the task's owner.

    Raises:
        RouteNotFoundError: there is no such route.
        AmbiguousRouteError: several routes watch the queue that was named, and none takes the task.
        TaskBusyError: a run of the task waits or works.
        MatchError: nobody knows whose the task is.
        DispatchError: the task is no dead letter, or its route is not known or does not take it.
        PrefectUnavailableError: Prefect did not answer; the message says what was done.
    """
    async with access.client() as prefect:
        routes, last = await _check_idle(prefect, app, task)
    if not route_name:
        given_up_by = _route_of_dead_letter(routes, task, last)
        there = replace(task, queue_name=given_up_by.queue_name)
        route_name = (await owner_of(app, routes, there) or given_up_by).name
    # Before anything is said or moved; Prefect's time does not count the board's.
    route = await runs.route_to_take(app, routes, task, route_name)
    moved = await _move_back(app, task, route, by)
    try:
        async with access.client() as prefect:
            return await runs.dispatch(prefect, app, moved, route.name)
    except PrefectUnavailableError as exc:
        raise PrefectUnavailableError(
            f"The task is back in {route.queue_name!r}, whose next poll starts it; there is "
            f"nothing to repeat. {exc}"
        ) from exc


async def _check_idle(prefect: RunStore, app: App, task: Task) -> tuple[Routes, FlowRun | None]:
    """See that no run holds a task; return the routes and its newest finished run."""
    task_id = task.id
    app.local_runs.refuse_if_at_work(task_id)
    last = (await store.last_finished_runs(prefect, app.name, [task_id], telling=True)).get(task_id)
    held = (await runs.make_way(prefect, app, [task])).get(task_id)
    if held is not None:
        raise TaskBusyError(task_id, str(held.id), held.name)
    return await app.routes.read(prefect), last


async def _move_back(app: App, task: Task, route: Route, by: str) -> Task:
    """Say on a dead letter that it is requeued, and move it; a repetition says it once only."""
    text = f"Requeued by {by}: fresh start in {route.queue_name!r}."
    if not task.comments or task.comments[-1].text != text:
        try:
            await app.board.comment(task.id, text)
        except AnswerLostError as exc:
            if exc.may_repeat:  # by asking for this once more
                raise
            # Else it is there, or missing; twice would be worse.
    await app.board.move(task.id, route.queue_name)
    return replace(task, queue_name=route.queue_name)


def _route_of_dead_letter(routes: Routes, task: Task, last: FlowRun | None) -> Route:
    if last is not None and (known := called(routes, store.route_name(last))) is not None:
        if task.queue_name in (known.route.in_progress_queue, known.route.dead_letter_queue):
            return known.route
    else:
        # Without a run it is a person's, or Prefect has lost what it knew.
        sources = [k.route for k in routes.values() if k.route.dead_letter_queue == task.queue_name]
        if not sources and last is None:
            queue = task.queue_name
            sources = [k.route for k in routes.values() if k.route.in_progress_queue == queue]
        if len({r.queue_name for r in sources}) == 1:
            return sources[0]
        if sources:
            raise DispatchError(
                f"Task {task.id!r} has no run that says where it came from; say which queue it "
                f"shall go to: {listed(r.name for r in sources)}."
            )
    raise DispatchError(
        f"Task {task.id!r} is in {task.queue_name!r} and is no dead letter; "
        "to have an agent work on it all the same, dispatch it to a queue: "
        f"{listed(watched(routes))}."
    )


def _dead_letter(prefect: RunStore, task: Task, run: FlowRun | None) -> DeadLetter:
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
        task_id=task.id,
        task_name=task.name,
        queue_name=task.queue_name,
        route=route_name(run),
        reason=reason,
        attempts=record_of(run).attempt,
        last_output=output,
        since=run.state.timestamp,
        run_id=str(run.id),
        run_url=run_url(prefect, run),
    )
