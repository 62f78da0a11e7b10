"""Commands for a whole board: `athanore board import` and `athanore board export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from athanore.cli.context import AppOption, find_app
from athanore.cli.output import say

type BoardFile = Annotated[
    Path, Parameter(name="FILE", help="A file in the format of the JSON board.")
]


def export(file: BoardFile, /, *, app: AppOption = None) -> None:
    """Write the app's board into a new file. A file that is there is not overwritten.

    Of a tracker's board the open tasks are written, and no closed ones.
    """
    from athanore.services.board_copy import export_board

    copied = export_board(find_app(app)[1].board, file)
    say(f"Exported {copied.tasks} tasks in {copied.queues} queues to {file}.")
    if copied.only_open:
        say("This board tells its open tasks only: closed ones are not in the file.")
    for queue, count in copied.left_out.items():
        say(f"Not in the file: {count} of {queue!r}.")


def import_(file: BoardFile, /, *, app: AppOption = None) -> None:
    """Read a file into the app's board, which must have no tasks. Ids stay what they are."""
    from athanore.services.board_copy import import_board

    copied = import_board(find_app(app)[1].board, file)
    say(f"Imported {copied.tasks} tasks in {copied.queues} queues from {file}.")


def board(group: Group, sort_key: int) -> App:
    """Put the commands together, for a place in the list of all commands."""
    app = App(
        name="board",
        help="Copy the whole board to a file, or from one.",
        group=group,
        sort_key=sort_key,
    )
    app.command(export)
    app.command(import_, name="import")
    return app
