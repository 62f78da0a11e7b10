"""Commands about the folders of tasks on this host: list them, remove those that may go."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import App, Group, Parameter

from athanore.cli.context import AppOption, AsJson, find_app
from athanore.cli.output import print_json, print_table, say, warn
from athanore.launch.terminal.display import ago


def workspaces_app(group: Group) -> App:
    """Put the commands together: `workspaces` itself, and `workspaces clean`."""
    app = App(
        name="workspaces",
        group=group,
        sort_key=99,
        help="List the folders of tasks on this host, or remove some.",
    )
    app.default(listed)
    app.command(clean)
    return app


def listed(*, app: AppOption = None, json: AsJson = False) -> None:
    """List the folders of tasks on this host."""
    from athanore.services.folders.workspaces import folders

    _, dispatcher = find_app(app)
    found = asyncio.run(folders(dispatcher))
    if json:
        print_json(found)
        return
    rows = (
        (f.task_id, f.task_name, f.branch, f"{ago(f.used_at)} ago", f.kept or "may go", str(f.path))
        for f in found
    )
    columns = ("task", "name", "branch", "used", "kept", "folder")
    print_table(columns, rows, cut=("kept", "branch", "name"), wraps="folder")


def clean(
    *,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative="", help="Only say what would be removed.")
    ] = False,
    force: Annotated[
        bool,
        Parameter(
            name="--force",
            negative="",
            help="Also folders that were used lately, or have work that is nowhere else.",
        ),
    ] = False,
    app: AppOption = None,
) -> int:
    """Remove the folders that nobody has used for long and with which nothing is lost.

    A folder in which an agent works is never removed.
    """
    from athanore.services.folders.workspaces import clean as clean_up

    _, dispatcher = find_app(app)

    async def action() -> tuple[int, int]:
        done = refused = 0
        async for removal in clean_up(dispatcher, force=force, dry_run=dry_run):
            if removal.refused:
                refused += 1
                warn(removal.refused)
            else:
                done += 1
                lost = removal.folder.kept
                verb = "Would remove" if dry_run else "Removed"
                say(f"{verb} {removal.folder.path}{f' ({lost})' if lost else ''}.")
        return done, refused

    done, refused = asyncio.run(action())
    if not done and not refused:
        say("There is nothing to remove.")
    return 1 if refused else 0
