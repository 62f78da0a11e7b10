"""Commands that change something: tasks on the board, their agent runs, and routes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from athanore.cli.at_work import from_app, in_path, order
from athanore.cli.context import AppOption, Connected, user, with_app, with_board
from athanore.cli.output import say, warn
from athanore.cli.tasks.typed import typed_task
from athanore.errors import ConfigurationError, DispatchError, NotFoundError
from athanore.runs.states import PrefectState
from athanore.services.showing.views import DeadLetter, Explained

if TYPE_CHECKING:
    from athanore.runs.port import RunStore
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App
    from athanore.services.access import PrefectAccess
    from athanore.services.runs import Dispatched
    from athanore.services.tasks import Arrival

TASK = Parameter(
    name="TASK", help="The task's id on the board, its beginning, or a part of the title."
)

type TaskId = Annotated[str, TASK]
type RouteName = Annotated[
    str, Parameter(name="ROUTE", help="The route's name, or the queue that only it watches.")
]
type QueueOption = Annotated[
    str | None,
    Parameter(name=["--queue", "-q"], help="The route to take; the task is moved to its queue."),
]


_BY = "operator"
"""The role of whoever gives commands, in the events of a task."""


def create(
    queue: Annotated[str, Parameter(name="QUEUE", help="The queue that the task goes to.")],
    name: Annotated[str, Parameter(name="NAME", help="The task's title.")],
    /,
    *,
    description: Annotated[
        str,
        Parameter(
            name=["--description", "-d"], allow_leading_hyphen=True, help="What is to be done."
        ),
    ] = "",
    app: AppOption = None,
) -> None:
    """Create a task; if its queue is watched, an agent is dispatched at once."""

    async def action(access: PrefectAccess, found: App) -> Mapping[str, Any]:
        from athanore.services import tasks

        made = await tasks.create(access, found, queue, name, description)
        return await _arrival(access, found, made)

    body = {"queue_name": queue, "name": name, "description": description}
    done = order(app, "/tasks", body) or with_board(app, action, makes_board=True)
    _tell_arrival(app, "Created", done)


@typed_task
def comment(
    task: TaskId,
    text: Annotated[str, Parameter(name="TEXT", help="What the comment says.")],
    /,
    *,
    app: AppOption = None,
) -> None:
    """Post a comment on a task."""

    async def action(_: PrefectAccess, found: App) -> None:
        from athanore.services import tasks

        await tasks.comment(found, task, text, _BY)

    if order(app, f"/tasks/{in_path(task)}/comments", {"comment": text}) is None:
        with_board(app, action)
    say(f"Commented on task {task}.")


@typed_task
def move(
    task: TaskId,
    queue: Annotated[str, Parameter(name="QUEUE", help="The queue that the task goes to.")],
    /,
    *,
    app: AppOption = None,
) -> None:
    """Move a task to another queue; if that is watched, an agent is dispatched at once."""

    async def action(access: PrefectAccess, found: App) -> Mapping[str, Any]:
        from athanore.services import tasks

        done = await tasks.move(access, found, task, queue, _BY)
        return await _arrival(access, found, done)

    path, body = f"/tasks/{in_path(task)}/move", {"target_queue": queue}
    _tell_arrival(app, "Moved", order(app, path, body) or with_board(app, action))


@typed_task
def dispatch(task: TaskId, /, *, queue: QueueOption = None, app: AppOption = None) -> None:
    """Have an agent work on a task as soon as a slot is free, without waiting for a poll."""

    async def action(client: PrefectRunStore, found: App) -> Mapping[str, Any]:
        from athanore.services import runs, tasks

        read = await tasks.read(found, task)
        return await _run(client, found, await runs.dispatch(client, found, read, queue))

    path = f"/tasks/{in_path(task)}/dispatch"
    _tell(app, task, order(app, path, _named(queue)) or with_app(app, action))


@typed_task
def cancel(
    task: TaskId,
    /,
    *,
    reason: Annotated[
        str | None,
        Parameter(
            name="--reason", allow_leading_hyphen=True, help="Why: for the comment on the task."
        ),
    ] = None,
    app: AppOption = None,
) -> None:
    """Cancel a task's agent run: its agent is stopped, or does not start."""

    async def action(client: PrefectRunStore, found: App) -> tuple[str, bool]:
        from athanore.services import runs, tasks

        read = await tasks.read(found, task)
        done = await runs.cancel(client, found, read, user(), reason or "")
        return done.run.name, done.at_once

    body = {"reason": reason or "", "by": user()}
    answer = order(app, f"/tasks/{in_path(task)}/cancel", body)
    name, at_once = (
        with_app(app, action)
        if answer is None
        else (str(answer["name"]), answer["state"] != PrefectState.CANCELLING)
    )
    if at_once:
        say(f"Cancelled {name!r}: no agent was at work.")
    else:
        say(f"Cancelling {name!r}: its agent is being stopped.")


@typed_task
def requeue(
    task: Annotated[str | None, TASK] = None,
    /,
    *,
    all_: Annotated[
        bool, Parameter(name="--all", negative="", help="Every dead letter that a run left.")
    ] = False,
    queue: QueueOption = None,
    app: AppOption = None,
) -> int:
    """Give a task that was given up a fresh start: back to its queue, with all its attempts."""
    if (task is None) is not all_:
        raise ConfigurationError("Name one task, or say --all.")

    if task is not None:
        _requeue(app, task, queue)
        return 0

    async def action(client: PrefectRunStore, found: App) -> tuple[DeadLetter, ...]:
        from athanore.services import dead_letters

        return tuple(await dead_letters.read_all(client, found))

    letters = from_app(app, tuple[DeadLetter, ...], "/overview/dead-letters")
    if letters is None:
        letters = with_app(app, action)
    refused = 0
    for letter in letters:
        try:
            _requeue(app, letter.task_id, queue)
        except (DispatchError, NotFoundError) as exc:
            refused += 1
            warn(str(exc))
    if not letters:
        say("There are no dead letters.")
    return 1 if refused else 0


def _requeue(app: str | None, task: str, queue: str | None) -> None:
    async def action(client: PrefectRunStore, found: App) -> Mapping[str, Any]:
        from athanore.services import dead_letters, tasks

        read = await tasks.read(found, task)
        done = await dead_letters.requeue(Connected(client), found, read, user(), queue)
        return await _run(client, found, done)

    path = f"/tasks/{in_path(task)}/requeue"
    _tell(app, task, order(app, path, {**_named(queue), "by": user()}) or with_app(app, action))


@typed_task
def publish(
    task: TaskId,
    /,
    *,
    allow_ci_changes: Annotated[
        bool,
        Parameter(
            name="--allow-ci-changes",
            negative="",
            help="Also what configures a CI, CODEOWNERS and submodules: you have looked at it.",
        ),
    ] = False,
    app: AppOption = None,
) -> None:
    """Publish the branch of a task whose folder is on this host, and have the task go on."""

    async def action(client: PrefectRunStore, found: App) -> str:
        from athanore.services.pull_requests.publishing import publish_by_hand

        return await publish_by_hand(
            Connected(client), found, task, _BY, allow_ci_changes=allow_ci_changes
        )

    say(with_app(app, action))


def pause(route: RouteName, /, *, app: AppOption = None) -> None:
    """Pause a route: no polls, and no agent starts. Running agents are left alone.

    Scheduled work is paused by its name, too.
    """

    async def action(client: PrefectRunStore, found: App) -> str:
        from athanore.services.routes import pause
        from athanore.services.scheduling import switch

        if route in found.dispatcher.schedules:
            return await switch(client, found, route, paused=True)
        return (await pause(client, found, route)).name

    done = order(app, f"/routes/{in_path(route)}/pause")
    name = with_app(app, action) if done is None else str(done["name"])
    say(f"Paused {name!r}. Running agents finish; `athanore resume {name!r}` lets it go on.")


def resume(route: RouteName, /, *, app: AppOption = None) -> None:
    """Let a paused route go on, whoever paused it."""

    async def action(client: PrefectRunStore, found: App) -> str:
        from athanore.services.routes import resume
        from athanore.services.scheduling import switch

        if route in found.dispatcher.schedules:
            return await switch(client, found, route, paused=False)
        return (await resume(client, found, route)).name

    done = order(app, f"/routes/{in_path(route)}/resume")
    name = with_app(app, action) if done is None else str(done["name"])
    say(f"Resumed {name!r}.")


def _named(queue: str | None) -> dict[str, str]:
    return {} if queue is None else {"queue_name": queue}


async def _arrival(access: PrefectAccess, app: App, done: Arrival) -> Mapping[str, Any]:
    """What came of a task's way into a queue, as the app answers it."""
    from athanore.runs.store import route_name
    from athanore.services.runs import Dispatched

    run = None
    if done.run is not None:
        made = Dispatched(done.run, route_name(done.run), created=True)
        async with access.client() as client:
            run = await _run(client, app, made)
    return {
        "id": done.task.id,
        "name": done.task.name,
        "queue_name": done.task.queue_name,
        "active_run": run,
    }


async def _run(client: RunStore, app: App, done: Dispatched) -> Mapping[str, Any]:
    """A run that waits, as the app answers it, and whether its route is paused."""
    from athanore.runs.capacity.pausing import paused_parts
    from athanore.runs.links import run_url

    return {
        "name": done.run.name,
        "route": done.route,
        "created": done.created,
        "worker": None,
        "queue_name": done.run.parameters["queue_name"],
        "url": run_url(client, done.run),
        "paused": "agents" in await paused_parts(client, app.name, done.route),
    }


def _tell_arrival(app: str | None, verb: str, task: Mapping[str, Any]) -> None:
    say(f"{verb} {task['name']!r} ({task['id']}): it is in {task['queue_name']!r}.")
    run = task["active_run"]
    # What an agent works on, or waits in another queue, was not dispatched by this.
    if run and run["worker"] is None and run["queue_name"] == task["queue_name"]:
        _tell(app, str(task["id"]), run)


def _tell(app: str | None, task: str, run: Mapping[str, Any]) -> None:
    verb = "Dispatched" if run.get("created", True) else "Already waiting:"
    say(f"{verb} {run['name']!r} to the agent of {run['route']!r}.  {run['url']}")
    resume = f"athanore resume {shlex.quote(run['route'])}"
    paused = run.get("paused")
    if paused is None:
        seen = from_app(app, Explained, f"/tasks/{in_path(task)}/explanation")
        paused = seen is not None and resume in seen.commands
    if paused:
        warn(f"The route is paused: it starts after `{resume}`.")
