"""Commands that show how things are: status, tasks, routes, dead-letters."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from athanore.cli.context import AppOption, AsJson, find_app, with_app, with_prefect
from athanore.cli.output import console, plain, print_json, print_table, say
from athanore.errors import ConfigurationError
from athanore.launch.display import (
    ago,
    duration,
    origin,
    overview_view,
    show_live,
    state_text,
    text,
    until,
)

if TYPE_CHECKING:
    from athanore.models import Task
    from athanore.options import Options
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App
    from athanore.runtime.routes.route_registry import KnownRoute
    from athanore.services.dead_letters import DeadLetter
    from athanore.services.status.overview import Overview, RunView

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
    """List the board's open tasks, queue by queue, and what runs for each."""

    async def action(client: PrefectRunStore, found: App) -> list[tuple[Task, RunView | None]]:
        from athanore.runs import store
        from athanore.services.status.overview import run_view

        wanted = queue or [q.name for q in await found.board.queues()]
        listed = await found.board.ready_tasks(wanted)
        active = await store.active_runs(client, found.name)
        return [(t, run_view(client, active[t.id]) if t.id in active else None) for t in listed]

    seen = with_app(app, action)
    if json:
        print_json([_task_fields(t) | {"run": plain(r)} for t, r in seen])
        return
    print_table(
        ("task", "name", "queue", "labels", "run"),
        ((t.id, t.name, t.queue_name, ", ".join(t.labels), _run_text(r)) for t, r in seen),
    )


def routes(*, app: AppOption = None, json: AsJson = False) -> None:
    """List the app's routes in the order in which they get free slots.

    Prefect is asked only where routes may be made over HTTP (enable_queue_management).
    """
    from athanore.route_options import OPTIONS
    from athanore.runtime.routes.route_registry import Registry, ranked_routes

    _, dispatcher = find_app(app)
    registry = Registry(dispatcher)
    known = with_prefect(registry.read) if registry.is_open else registry.in_code()
    ranked = ranked_routes(known)
    if json:
        print_json([_route_fields(k) for k in ranked])
        return
    columns = {name: o for name, o in OPTIONS.items() if o.column}
    print_table(
        ("queue", "agent", *(o.column for o in columns.values()), ""),
        ((k.route.queue_name, k.route.describe(), *_cells(k, columns), origin(k)) for k in ranked),
    )


def dead_letters(*, app: AppOption = None, json: AsJson = False) -> None:
    """List the tasks that were given up: why, after how many attempts, and what was said last."""

    async def action(client: PrefectRunStore, found: App) -> list[DeadLetter]:
        from athanore.services import dead_letters

        return await dead_letters.read_all(client, found)

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


def _run_text(run: RunView | None) -> Text:
    if run is None:
        return text()
    due = f", due {until(run.due)}" if run.due is not None else f" for {ago(run.since)}"
    return state_text(f"{run.state}{due} (attempt {run.attempt})")


def _task_fields(task: Task) -> dict[str, object]:
    return {
        "id": task.id,
        "name": task.name,
        "queue_name": task.queue_name,
        "description": task.description,
        "labels": task.labels,
        "assignees": task.assignees,
        "url": task.url,
    }


def _cells(known: KnownRoute, columns: Options) -> list[str]:
    cells: list[str] = []
    for name, option in columns.items():
        value: object = getattr(known.route, name)
        text = duration(value.total_seconds()) if isinstance(value, timedelta) else str(value)
        cells.append(option.empty if value is None else text)
    return cells


def _route_fields(known: KnownRoute) -> dict[str, object]:
    from athanore.options import shown

    return {
        "queue_name": known.route.queue_name,
        "source": known.source,
        "changed": known.changed,
        "agent": known.route.describe(),
        **shown(known.route),
    }
