"""The command that takes an app out of Prefect."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from athanore.cli.context import AppArgument, find_app, with_prefect
from athanore.cli.output import say, warn
from athanore.errors import ConfigurationError, DispatchError

if TYPE_CHECKING:
    from athanore.deployments import Holdings
    from athanore.dispatcher import AgentDispatcher
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App

_SHOWN = 5


def undeploy(
    app: AppArgument = None,
    /,
    *,
    name: Annotated[
        str | None,
        Parameter(help="The app's name, where its code is gone; its board is then left alone."),
    ] = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        Parameter(
            name="--force",
            negative="",
            help="Also while agents are at work on hosts that are not seen from here.",
        ),
    ] = False,
) -> None:
    """Take an app out of Prefect: its routes, schedules, work queues and pools.

    It says what that is, and asks. Runs that wait are cancelled, and their tasks stay where they
    are. The history of runs and their logs stay, and so does the board. An app that is at work is
    refused: stop it first.
    """
    from athanore.deployments import check_app_record
    from athanore.runtime.apps import App

    reference, dispatcher = _app(app, name)
    found = App(reference, dispatcher)

    async def action(client: PrefectRunStore) -> tuple[list[str], list[str]] | None:
        from athanore.deployments import holdings, undeploy

        if name is None:
            await check_app_record(client, found)
        held = await holdings(client, found)
        if held.is_nothing:
            say(f"Prefect has nothing of an app {found.name!r}; there is nothing to remove.")
            return None
        _refuse(found, held, force)
        _list(found, held)
        if not yes and not await _agrees():
            say("Nothing was removed.")
            return None
        return await undeploy(client, found)

    if (done := with_prefect(action, reference if name is None else None, starts=True)) is None:
        return
    changes, lingering = done
    for change in changes:
        say(f"  {change}")
    for route in lingering:
        warn(
            f"Route {route!r} is paused and not yet removed: the board cannot be told what came of "
            "its runs. Give the command again when the board is back."
        )
    if lingering:
        raise DispatchError(f"The app {found.name!r} is not removed yet.")
    say(f"The app {found.name!r} is no more in Prefect; its next start or deploy brings it back.")


def _app(app: str | None, name: str | None) -> tuple[str, AgentDispatcher]:
    if name is None:
        return find_app(app)
    if app is not None:
        raise ConfigurationError("Say either APP or --name.")
    from athanore.dispatcher import AgentDispatcher
    from athanore.queue_adapters.memory import MemoryAdapter

    return "removed.py:dispatcher", AgentDispatcher(
        "true", name=name, queue_backend=MemoryAdapter([])
    )


def _refuse(app: App, held: Holdings, force: bool) -> None:
    if held.is_at_work:
        raise DispatchError(
            f"The app {app.name!r} is at work, or was within the last minute and a half: stop it "
            "first, with `athanore stop` or where it was started."
        )
    if held.busy and not force:
        named = ", ".join(repr(run.name) for run in held.busy[:_SHOWN])
        more = f" and {len(held.busy) - _SHOWN} more" if len(held.busy) > _SHOWN else ""
        raise DispatchError(
            f"Agents are at work, or their worker was lost on a host that is not seen from here: "
            f"{named}{more}. Cancel them (`athanore cancel TASK`), or remove the app all the same "
            "with --force; their tasks then stay where they are."
        )


def _list(app: App, held: Holdings) -> None:
    say(f"Prefect has of the app {app.name!r}, and would have it no more:", "bold")
    for route, waiting in held.routes.items():
        runs = f", {waiting} run{'' if waiting == 1 else 's'} waiting" if waiting else ""
        say(f"  route {route!r}: its polls, its agents, its work queue{runs}")
    for schedule in held.schedules:
        say(f"  schedule {schedule!r}")
    for pool in held.pools:
        say(f"  work pool {pool!r}")
    for run in held.busy:
        say(f"  the run {run.name!r}, which says that it is at work")
    say(
        "It keeps the runs that have ended and their logs, automations "
        "(`athanore automations --delete`) and keys. The tasks on the board stay."
    )


async def _agrees() -> bool:
    """Ask on the terminal.

    Raises:
        ConfigurationError: there is none.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigurationError("Nothing was removed: without a terminal say --yes.")
    sys.stdout.write("Remove this? [y/N] ")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    loop.add_reader(sys.stdin, lambda: answer.done() or answer.set_result(sys.stdin.readline()))
    try:
        return (await answer).strip().lower() in ("y", "yes")
    finally:
        loop.remove_reader(sys.stdin)
