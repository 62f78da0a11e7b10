"""Commands for every day: a task by its title, its texts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from athanore.cli.at_work import from_app, in_path, order
from athanore.cli.context import AppOption, find_app, make_board, with_board
from athanore.cli.output import say
from athanore.cli.tasks.acting import TaskId, create
from athanore.cli.tasks.typed import typed_task
from athanore.errors import ConfigurationError
from athanore.services.showing.route_views import RouteTable
from athanore.services.showing.views import QueueSize

if TYPE_CHECKING:
    from athanore.runtime.apps import App
    from athanore.services.access import PrefectAccess

type Description = Annotated[
    str | None,
    Parameter(
        name=["--description", "-d"],
        allow_leading_hyphen=True,
        help="What is to be done; - reads it from standard input.",
    ),
]


def add(
    title: Annotated[str, Parameter(name="TITLE", help="The task's title.")],
    /,
    *,
    description: Description = None,
    queue: Annotated[
        str | None,
        Parameter(name=["--queue", "-q"], help="By default the first that a route watches."),
    ] = None,
    app: AppOption = None,
) -> None:
    """Put a task on the board: an agent starts on it if a route watches its queue."""
    create(queue or _first_queue(app), title, description=_read(description) or "", app=app)


def edit(
    task: TaskId,
    /,
    *,
    title: Annotated[str | None, Parameter(name=["--title", "-t"], help="The new title.")] = None,
    description: Description = None,
    app: AppOption = None,
) -> None:
    """Change a task's title or description."""
    text = _read(description)
    if title is None and text is None:
        raise ConfigurationError("Say what to change: --title TEXT or --description TEXT.")
    _edit(task, title=title, text=text, app=app)


@typed_task
def _edit(task: str, /, *, title: str | None, text: str | None, app: str | None) -> None:
    async def action(_: PrefectAccess, found: App) -> None:
        from athanore.services.tasks import naming_open_tasks

        clean = found.redactor.text
        async with naming_open_tasks(found):
            await found.board.update(
                task,
                name=None if title is None else clean(title),
                description=None if text is None else clean(text),
                labels=None,
                assignees=None,
            )

    body = {k: v for k, v in (("name", title), ("description", text)) if v is not None}
    if order(app, f"/tasks/{in_path(task)}", body, method="PATCH") is None:
        with_board(app, action)
    say(f"Changed task {task}.")


def _read(description: str | None) -> str | None:
    if description != "-":
        return description
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as exc:
        wrong = exc.object[exc.start : exc.end]
        raise ConfigurationError(
            f"The description on standard input is not valid {exc.encoding.upper()}: {wrong!r}."
        ) from exc


def _first_queue(app: str | None) -> str:
    """The first queue of the board that a route watches; one that the board has not comes last."""
    table = from_app(app, RouteTable, "/overview/routes")
    if table is not None:
        watched = [str(field["queue_name"]) for field in table.fields]
        board = [q.name for q in from_app(app, tuple[QueueSize, ...], "/queues") or ()]
    else:
        _, dispatcher = find_app(app)
        make_board(dispatcher)
        watched = [r.queue_name for r in dispatcher.routes.values()]
        board = [q.name for q in dispatcher.board.list_queues()]
    if not watched:
        raise ConfigurationError("The app has no routes; say which queue: --queue NAME.")
    return min(watched, key=lambda name: board.index(name) if name in board else len(board))
