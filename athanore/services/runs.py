"""Having an agent work on a task, and cancelling that: the use cases of a task's runs.

A run holds its task while a worker has it, and while it waits where it can take the task from.
A waiting run whose task is elsewhere holds nothing: it is cancelled, and the task may have a run
of the route whose queue it is in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Cancelling

from athanore import names
from athanore.errors import (
    BoardError,
    DispatchError,
    InvalidTaskError,
    MatchError,
    NotFoundError,
    TaskBusyError,
)
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.capacity import label_caps
from athanore.runs.kept.questions import waits_for
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.routes.ownership import find_route, listed, watched, watching
from athanore.runtime.routes.route_registry import Routes, called
from athanore.services.holds import Holds, blockers_of
from athanore.services.owners import Owners, owner_of, owners

LONGEST_REASON = 1000
"""Characters of what is said of a cancellation."""

_LEFT_AT_ONCE = 50
"""How many runs of tasks that have left the queue a poll cancels: each takes some requests."""


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


async def dispatch(
    prefect: RunStore, app: App, task: Task, route_name: str | None = None
) -> Dispatched:
    """Have an agent work on a task as soon as a slot is free.

    Args:
        task: as it was just read from the board.
        route_name: the route to take, or its queue where no other route watches it; a task that is
            elsewhere is moved to its queue first. By default the task's owner.

    Raises:
        RouteNotFoundError: there is no such route.
        AmbiguousRouteError: several routes watch the queue that was named.
        TaskBusyError: an agent works on the task.
        MatchError: nobody knows whose the task is.
        DispatchError: no route watches the queue that the task is in, or takes the task there; the
            route that was named does not take it; or nothing is deployed.
    """
    app.local_runs.refuse_if_at_work(task.id)
    routes = await app.routes.read(prefect)
    if route_name is None:
        route = await owner_of(app, routes, task)
    else:
        route = await route_to_take(app, routes, task, route_name)
    if route is None or task.queue_name != route.queue_name:
        _check_idle(
            task, (await store.active_by_task(prefect, app.name, [task.id])).get(task.id, ())
        )
    if route is None:
        why = "which no route watches"
        if beside := watching(routes, task.queue_name):
            why = f"and no route takes it there ({listed(k.route.name for k in beside)})"
        raise DispatchError(
            f"Task {task.id!r} is in {task.queue_name!r}, {why}; say which queue "
            f"it shall go to, or move it there: {listed(watched(routes))}."
        )
    if task.queue_name != route.queue_name:
        await app.board.move(task.id, route.queue_name)
        task = replace(task, queue_name=route.queue_name)
    held = (await make_way(prefect, app, [task])).get(task.id)
    if held is not None:
        if held.state_type in store.WORKING or store.route_name(held) not in route.names:
            raise TaskBusyError(task.id, str(held.id), held.name)
        return Dispatched(held, route.name, created=False)
    run = await app.dispatching.dispatch(prefect, route, task)
    app.local_runs.wake()
    return Dispatched(run, route.name, created=True)


async def dispatch_if_watched(prefect: RunStore, app: App, task: Task) -> Dispatched | None:
    """Dispatch a task that has come into a queue; None if no route watches it, or it has an agent.

    The end of that agent's run sees to the task; for one that is held, a poll.

    Raises:
        DispatchError: the route has no deployment.
    """
    routes = await app.routes.read(prefect)
    owner = await owner_of(app, routes, task)
    if owner is None:
        return None
    holds = Holds(app, routes)
    if label_caps.limits_of(owner, task):
        await holds.look_at_labels(prefect)
    if await holds.of(owner, task) is not None:
        return None
    try:
        return await dispatch(prefect, app, task)
    except TaskBusyError:
        return None


async def dispatch_unblocked(prefect: RunStore, app: App, ended: str) -> None:
    """Dispatch the tasks that waited for one that has ended, or may have; else a poll does it.

    The board is read only where a route respects blockers.

    Args:
        ended: its id.

    Raises:
        BoardError: the board cannot be read.
        DispatchError: a route has no deployment.
    """
    routes = await app.routes.read(prefect)
    queues = [k.route.queue_name for k in routes.values() if k.route.respect_blockers]
    if not queues:
        return
    for task in await app.board.ready_tasks(list(dict.fromkeys(queues))):
        if ended in blockers_of(task):
            with suppress(MatchError):
                await dispatch_if_watched(prefect, app, task)


async def make_way(prefect: RunStore, app: App, tasks: Sequence[Task]) -> dict[str, FlowRun]:
    """Return the runs that hold some of these tasks, by task id; cancel those that hold none.

    Args:
        tasks: as they were read from the board, before this is called. A run that still waits
            afterwards has not claimed its task, and cannot do so from another queue.
    """
    held: dict[str, FlowRun] = {}
    active = await store.active_by_task(prefect, app.name, [t.id for t in tasks])
    if not active:
        return held
    routes = await app.routes.read(prefect)
    owned = await owners(app, routes, [t for t in tasks if t.id in active])
    for task in tasks:
        for run in active.get(task.id, ()):
            other = _another_owner(run, task, routes, owned)
            if other or not await _is_held(app, run, task, routes):
                message = f"Superseded: the task is in {task.queue_name!r}{other}."
                await _withdraw(prefect, run, StateName.SUPERSEDED, message)
            elif task.id not in held or run.state_type in store.WORKING:
                held[task.id] = run
    return held


async def cancel_left_behind(
    prefect: RunStore,
    app: App,
    route: Route,
    held: Mapping[str, FlowRun],
    created: Collection[str] = (),
) -> int:
    """Cancel waiting runs of a route whose tasks have left its queue; return how many.

    Args:
        held: the runs that hold the tasks in the queue, as `make_way` has found them.
        created: the tasks in the queue that were given a run since.
    """
    mine = [
        r
        for r in held.values()
        if r.state_type in store.NOT_TAKEN and store.route_name(r) in route.names
    ]
    if await store.count_waiting(prefect, app.name, route.name) <= len(mine):
        return 0
    waiting = await store.find_runs(prefect, app.name, store.NOT_TAKEN, route=route.name)
    routes = await app.routes.read(prefect)
    known = {*held, *created}
    suspects = [r for r in waiting if names.task_of(r.tags) not in known]
    cancelled = 0
    for run in suspects[:_LEFT_AT_ONCE]:
        task_id = names.task_of(run.tags)
        if task_id is None:
            continue  # started by hand, on its way to hand over
        queue, other = None, ""
        try:
            task = await app.board.task(task_id)
            queue = task.queue_name
            other = _another_owner(run, task, routes, await owners(app, routes, [task]))
        except NotFoundError:
            pass
        except BoardError:  # the board was read a moment ago: it is this card alone
            continue
        if queue is not None and not other and _holds(run, queue, routes):
            continue  # it came into the queue after the poll had looked
        # The board first, then the run: what still waits now has not claimed its task before.
        now = await prefect.read_run(run.id)
        if now.state_type in store.NOT_TAKEN and record_of(now).living_start is None:
            place = "is gone from the board" if queue is None else f"is in {queue!r}"
            message = f"The task {place}{other or f' and no longer in {route.queue_name!r}'}."
            name = StateName.SUPERSEDED if other else StateName.NOTHING_TO_DO
            await _withdraw(prefect, now, name, message)
            cancelled += 1
    return cancelled


async def cancel(
    prefect: RunStore, app: App, task: Task, by: str, reason: str = ""
) -> Cancellation:
    """Cancel a task's run: a waiting one at once, a working one as soon as its agent is stopped.

    Args:
        task: as it was just read from the board.
        by: who does it, as in `by eve`; shown in Prefect and in the comment on the task.
        reason: why, shown with it; secrets in it are replaced.

    Raises:
        InvalidTaskError: the reason is too long.
        DispatchError: no run of the task waits or works.
    """
    if len(reason) > LONGEST_REASON:
        raise InvalidTaskError(
            f"A reason has at most {LONGEST_REASON} characters, and this one has {len(reason)}."
        )
    run = (await store.active_runs(prefect, app.name, [task.id])).get(task.id)
    if run is None:
        raise DispatchError(
            f"No agent works on task {task.id!r} ({task.name}) or waits to; it is in "
            f"{task.queue_name!r}, and there is nothing to cancel."
        )
    message = f"by {by}: {app.redactor.text(reason)}" if reason else f"by {by}"
    if run.state_type is StateType.CANCELLING:
        return Cancellation(run, at_once=False)
    # Only the server can tell in one step whether a worker has the run already. What still waits
    # it cancels itself, and forgets the message.
    answer = await prefect.propose(run.id, Cancelling(message=message))
    at_once = answer.state is not None and answer.state.type is StateType.CANCELLED
    if at_once:
        await prefect.impose(run.id, Cancelled(message=message))
    return Cancellation(run, at_once)


async def route_to_take(app: App, routes: Routes, task: Task, route_name: str) -> Route:
    """The route that was named for a task, by its name or its queue, if it takes the task.

    Raises:
        RouteNotFoundError, AmbiguousRouteError, MatchError, DispatchError: see `dispatch`.
    """
    named = routes.get(route_name)
    beside = watching(routes, route_name)
    # The queue of several: the one that takes it, also where one of them is called as the queue.
    if len(beside) > 1 and (named is None or named.route.queue_name == route_name):
        owner = await owner_of(app, routes, replace(task, queue_name=route_name))
        if owner is not None:
            return owner
    route = find_route(routes, route_name).route
    owner = await owner_of(app, routes, replace(task, queue_name=route.queue_name))
    if owner is None or owner.name != route.name:
        whose = "no route takes it there" if owner is None else f"it is {owner.name!r}'s"
        raise DispatchError(
            f"Route {route.name!r} does not take task {task.id!r}: {whose}, by its labels, its "
            "assignees or match=."
        )
    return route


def _another_owner(run: FlowRun, task: Task, routes: Routes, owned: Owners) -> str:
    """Say that a run which never began waits for a task that is another route's now; else ""."""
    if run.state_type not in store.NOT_TAKEN or run.run_count or task.id in owned.unknown:
        return ""
    mine = called(routes, store.route_name(run))
    name = owned.routes.get(task.id)
    if mine is None or mine.route.queue_name != task.queue_name or name == mine.route.name:
        return ""
    return " and no route takes it now" if name is None else f" and {name!r} takes it now"


async def _is_held(app: App, run: FlowRun, task: Task, routes: Routes) -> bool:
    """Tell whether an active run holds a task that was seen in a queue a moment ago."""
    queue = task.queue_name
    if record_of(run).goes_to == queue:  # it may have been taken back from there meanwhile
        with suppress(NotFoundError):
            queue = (await app.board.task(task.id)).queue_name
    return _holds(run, queue, routes)


def _holds(run: FlowRun, queue_name: str, routes: Routes) -> bool:
    """Tell whether an active run holds its task, which is in this queue."""
    known = called(routes, store.route_name(run))
    own = known.route.queue_name if known is not None else run.parameters.get("queue_name")
    if run.state_type not in store.NOT_TAKEN:
        return True
    if waits_for(run) is not None:
        # Its task is where it waits for a person; moved, it is wanted as it is, or anew.
        return queue_name == record_of(run).place
    if own == queue_name:
        return True
    if record_of(run).living_start is not None:
        return True  # it was suspended, and its agent is being stopped
    if known is not None and record_of(run).awaits_the_board:
        # Its agent, or its claim, may have put the task there.
        return queue_name not in watched(routes)
    if known is None or not store.is_retried_by_hand(run):
        return False
    return queue_name in (known.route.in_progress_queue, known.route.dead_letter_queue)


async def _withdraw(prefect: RunStore, run: FlowRun, name: StateName, message: str) -> None:
    """Cancel a waiting run. Nothing is due to its task: the name tells it from a person's wish."""
    await prefect.propose(run.id, Cancelled(name=name, message=message))


def _check_idle(task: Task, active: Iterable[FlowRun]) -> None:
    for run in active:
        if run.state_type not in store.NOT_TAKEN:
            raise TaskBusyError(task.id, str(run.id), run.name)
