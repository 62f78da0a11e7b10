"""Commands that change something: tasks on the board, their agent runs, and routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from athanore.cli.at_work import in_path, order
from athanore.cli.context import AppOption, Connected, user, with_app
from athanore.cli.output import say, warn
from athanore.errors import ConfigurationError, DispatchError
from athanore.runs.states import PrefectState

if TYPE_CHECKING:
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App
    from athanore.services.runs import Dispatched
    from athanore.services.tasks import Arrival

TASK = Parameter(name="TASK", help="The task's id on the board.")

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

    async def action(client: PrefectRunStore, found: App) -> None:
        from athanore.services import tasks

        made = await tasks.create(Connected(client), found, queue, name, description)
        await _tell_arrival(client, found, "Created", made)

    with_app(app, action)


def comment(
    task: TaskId,
    text: Annotated[str, Parameter(name="TEXT", help="What the comment says.")],
    /,
    *,
    app: AppOption = None,
) -> None:
    """Post a comment on a task."""

    async def action(_: PrefectRunStore, found: App) -> None:
        from athanore.services import tasks

        await tasks.comment(found, task, text, _BY)

    if order(app, f"/tasks/{in_path(task)}/comments", {"comment": text}) is None:
        with_app(app, action)
    say(f"Commented on task {task}.")


def move(
    task: TaskId,
    queue: Annotated[str, Parameter(name="QUEUE", help="The queue that the task goes to.")],
    /,
    *,
    app: AppOption = None,
) -> None:
    """Move a task to another queue; if that is watched, an agent is dispatched at once."""

    async def action(client: PrefectRunStore, found: App) -> None:
        from athanore.services import tasks

        moved = await tasks.move(Connected(client), found, task, queue, _BY)
        await _tell_arrival(client, found, "Moved", moved)

    with_app(app, action)


def dispatch(task: TaskId, /, *, queue: QueueOption = None, app: AppOption = None) -> None:
    """Have an agent work on a task as soon as a slot is free, without waiting for a poll."""

    async def action(client: PrefectRunStore, found: App) -> None:
        from athanore.services import runs, tasks

        read = await tasks.read(found, task)
        await _tell(client, found, await runs.dispatch(client, found, read, queue))

    with_app(app, action)


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


def requeue(
    task: Annotated[str | None, Parameter(name="TASK", help="The task's id.")] = None,
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

    async def action(client: PrefectRunStore, found: App) -> int:
        from athanore.services import dead_letters, tasks

        async def requeue_one(task_id: str) -> None:
            read = await tasks.read(found, task_id)
            done = await dead_letters.requeue(Connected(client), found, read, user(), queue)
            await _tell(client, found, done)

        if task is not None:
            await requeue_one(task)
            return 0
        letters = await dead_letters.read_all(client, found)
        refused = 0
        for letter in letters:
            try:
                await requeue_one(letter.task_id)
            except DispatchError as exc:
                refused += 1
                warn(str(exc))
        if not letters:
            say("There are no dead letters.")
        return 1 if refused else 0

    return with_app(app, action)


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
        from athanore.services.publishing import publish_by_hand

        return await publish_by_hand(
            Connected(client), found, task, _BY, allow_ci_changes=allow_ci_changes
        )

    say(with_app(app, action))


def pause(route: RouteName, /, *, app: AppOption = None) -> None:
    """Pause a route: no polls, and no agent starts. Running agents are left alone."""

    async def action(client: PrefectRunStore, found: App) -> str:
        from athanore.services.routes import pause

        return (await pause(client, found, route)).name

    done = order(app, f"/routes/{in_path(route)}/pause")
    name = with_app(app, action) if done is None else str(done["name"])
    say(f"Paused {name!r}. Running agents finish; `athanore resume {name!r}` lets it go on.")


def resume(route: RouteName, /, *, app: AppOption = None) -> None:
    """Let a paused route go on, whoever paused it."""

    async def action(client: PrefectRunStore, found: App) -> str:
        from athanore.services.routes import resume

        return (await resume(client, found, route)).name

    done = order(app, f"/routes/{in_path(route)}/resume")
    name = with_app(app, action) if done is None else str(done["name"])
    say(f"Resumed {name!r}.")


async def _tell_arrival(client: PrefectRunStore, app: App, verb: str, done: Arrival) -> None:
    from athanore.runs.store import route_name
    from athanore.services.runs import Dispatched

    say(f"{verb} {done.task.name!r} ({done.task.id}): it is in {done.task.queue_name!r}.")
    if done.run is not None:
        await _tell(client, app, Dispatched(done.run, route_name(done.run), created=True))


async def _tell(client: PrefectRunStore, app: App, done: Dispatched) -> None:
    from athanore.runs.capacity.pausing import paused_parts
    from athanore.runs.links import run_url

    verb = "Dispatched" if done.created else "Already waiting:"
    say(f"{verb} {done.run.name!r} to the agent of {done.route!r}.  {run_url(client, done.run)}")
    if "agents" in await paused_parts(client, app.name, done.route):
        warn(f"The route is paused: it starts after `athanore resume {done.route!r}`.")
