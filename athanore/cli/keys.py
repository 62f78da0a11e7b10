"""Commands about the keys of people's MCP clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from athanore.cli.context import AppOption, AsJson, user, with_app
from athanore.cli.output import print_json, print_table, say
from athanore.errors import ConfigurationError
from athanore.launch.terminal.display import ago

if TYPE_CHECKING:
    from athanore.runs.port import RunStore
    from athanore.runtime import apps


def key_app(group: Group, place: int) -> App:
    """Put the commands together."""
    app = App(
        name="key",
        group=group,
        sort_key=place,
        help="Make, list and revoke keys with which MCP clients of people reach the board.",
    )
    for command in (create, listed, revoke):
        app.command(command, name="list" if command is listed else command.__name__)
    return app


def create(
    *,
    read: Annotated[
        bool,
        Parameter(name="--read", negative="", help="It sees tasks, their comments, and queues."),
    ] = False,
    steer: Annotated[
        bool,
        Parameter(
            name="--steer",
            negative="",
            help="It also comments, moves, creates, dispatches and cancels.",
        ),
    ] = False,
    name: Annotated[
        str | None, Parameter(name="--name", help="What it is called; your name by default.")
    ] = None,
    app: AppOption = None,
) -> None:
    """Make a key for /mcp, and print it: it is kept nowhere and shown this once."""
    if read == steer:
        raise ConfigurationError("Say what the key may do: --read, or --steer.")

    async def action(prefect: RunStore, found: apps.App) -> None:
        from athanore.services.people import keys

        made, token = await keys.create(
            prefect, found, "steer" if steer else "read", name or user()
        )
        say(f"Key {made.id} ({made.name}, {made.scope}) for {found.api_url}/mcp:")
        say(token, "bold")
        say("It is not shown again. docs/mcp.md says where to put it.")

    with_app(app, action)


def listed(*, app: AppOption = None, json: AsJson = False) -> None:
    """List the keys of an app, the oldest first."""

    async def action(prefect: RunStore, found: apps.App) -> None:
        from athanore.services.people import keys

        there = await keys.listed(prefect, found)
        if json:
            print_json(there)
            return
        rows = ((k.id, k.name, k.scope, f"{ago(k.created_at)} ago") for k in there)
        print_table(("id", "name", "may", "made"), rows)

    with_app(app, action)


def revoke(
    key: Annotated[str, Parameter(name="KEY", help="Its id or its name.")],
    /,
    *,
    app: AppOption = None,
) -> None:
    """Have a key open nothing any more."""

    async def action(prefect: RunStore, found: apps.App) -> None:
        from athanore.services.people import keys

        gone = await keys.revoke(prefect, found, key)
        say(f"Revoked key {gone.id} ({gone.name}).")

    with_app(app, action)
