"""Commands that show how things are: status, tasks, routes, dead-letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from athanore.cli.at_work import from_app
from athanore.cli.context import AppOption, AsJson, Connected, find_app, with_app, with_prefect
from athanore.cli.output import console, plain, print_json, print_table, say
from athanore.errors import ConfigurationError
from athanore.launch.terminal.display import (
    ago,
    overview_view,
    run_state,
    run_time,
    show_live,
    text,
    waits_for,
)
from athanore.services.showing.route_views import RouteTable
from athanore.services.showing.views import DeadLetter, OpenTask, Overview

if TYPE_CHECKING:
    from athanore.models import Task
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App

_SHOWN_RUNS = 50


def status(
    *,
    watch: Annotated[
        bool, Parameter(name=["--watch", "-w"], negative="", help="Go on until Ctrl-C.")
    ] = False,
    app: AppOption = None,
    json: AsJson = False,
) -> None:
    """Show the routes, what runs and waits, what is paused, and the dead letters."""
    if watch and (json or not console().is_terminal):
        raise ConfigurationError(
            "--watch draws on a terminal; for a program call `athanore status --json` repeatedly."
        )

    async def action(client: PrefectRunStore, found: App) -> Overview:
        from athanore.services.status.overview import overview

        if watch:
            await show_live(console(), client, found)
        return await overview(client, found)

    seen = None if watch else from_app(app, Overview, "/overview")
    if seen is None:
        seen = with_app(app, action)
    if json:
        print_json(seen)
    else:
        console().print(overview_view(seen, _SHOWN_RUNS))


def tasks(
    *,
    queue: Annotated[
        list[str] | None,
        Parameter(name=["--queue", "-q"], help="Only this queue; may be repeated.", negative=""),
    ] = None,
    app: AppOption = None,
    json: AsJson = False,
) -> None:
    """List the board's open tasks, queue by queue, what runs for each, or what it waits for."""

    async def action(client: PrefectRunStore, found: App) -> tuple[OpenTask, ...]:
        from athanore.services.status.looking import open_tasks

        return await open_tasks(Connected(client), found, queue)

    seen = from_app(app, tuple[OpenTask, ...], "/overview/tasks", queue=queue)
    if seen is None:
        seen = with_app(app, action)
    if json:
        print_json(
            [
                _task_fields(t.task)
                | {"run": plain(t.run), "waits_for": t.waits_for, "until": plain(t.until)}
                for t in seen
            ]
        )
        return
    print_table(
        ("task", "name", "queue", "labels", "run", "time", "waits for"),
        (
            (
                t.task.id,
                t.task.name,
                t.task.queue_name,
                ", ".join(t.task.labels),
                "" if t.run is None else run_state(t.run),
                "" if t.run is None else run_time(t.run),
                _waits_for(t),
            )
            for t in seen
        ),
        cut=("labels", "waits for", "name"),
        keep=("task", "queue", "run", "time"),
    )


def routes(*, app: AppOption = None, json: AsJson = False) -> None:
    """List the app's routes in the order in which they get free slots.

    Prefect is asked only where routes may be made over HTTP (enable_queue_management).
    """
    seen = from_app(app, RouteTable, "/overview/routes") or _read_routes(app)
    if json:
        print_json(seen.fields)
        return
    print_table(seen.columns, seen.rows, cut=("agent",))
    if seen.schedules:
        columns = ("schedule", "times", "time zone", "queue", "next")
        print_table(columns, seen.schedules, title="Scheduled work")


def _read_routes(app: str | None) -> RouteTable:
    from athanore.runtime.routes.route_registry import Registry
    from athanore.services.status.looking import route_table

    _, dispatcher = find_app(app)
    registry = Registry(dispatcher)
    routes = with_prefect(registry.read) if registry.is_open else registry.in_code()
    return route_table(routes, dispatcher)


def dead_letters(*, app: AppOption = None, json: AsJson = False) -> None:
    """List the tasks that were given up: why, after how many attempts, and what was said last."""

    async def action(client: PrefectRunStore, found: App) -> tuple[DeadLetter, ...]:
        from athanore.services import dead_letters

        return tuple(await dead_letters.read_all(client, found))

    seen = from_app(app, tuple[DeadLetter, ...], "/overview/dead-letters")
    if seen is None:
        seen = with_app(app, action)
    if json:
        print_json(seen)
        return
    if not seen:
        say("There are no dead letters.")
    for letter in seen:
        say(f"{letter.task_id}  {letter.task_name}", "bold")
        attempts = "" if letter.attempts is None else f", attempt {letter.attempts}"
        since = "" if letter.since is None else f", {ago(letter.since)} ago"
        say(f"  in {letter.queue_name!r}: {letter.reason}{attempts}{since}", "red")
        for line in letter.last_output.splitlines():
            say(f"  | {line}", "dim")
        if letter.run_url:
            say(f"  {letter.run_url}")
    if seen:
        say("\n`athanore requeue TASK` gives a task a fresh start; --all does so for all.", "dim")


def _waits_for(seen: OpenTask) -> Text:
    return text((waits_for(seen.waits_for, seen.until), "dim")) if seen.waits_for else text()


def _task_fields(task: Task) -> dict[str, object]:
    return {
        "id": task.id,
        "name": task.name,
        "queue_name": task.queue_name,
        "description": task.description,
        "labels": task.labels,
        "assignees": task.assignees,
        "url": task.url,
        "author": task.author,
        "priority": task.priority,
        "created_at": plain(task.created_at),
        "updated_at": plain(task.updated_at),
    }
