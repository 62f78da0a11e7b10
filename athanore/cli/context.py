"""What every command needs: the app that is meant, and a connection to Prefect."""

from __future__ import annotations

import getpass
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from athanore.errors import (
    AthanoreError,
    ConfigurationError,
    DispatchError,
    PrefectRefusesError,
    PrefectUnavailableError,
)

if TYPE_CHECKING:
    from athanore.dispatcher import AgentDispatcher
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime.apps import App
    from athanore.services.access import PrefectAccess

type AppArgument = Annotated[
    str | None, Parameter(name="APP", help="The app, as run.py:dispatcher.")
]
"""The app as a command's first argument."""

type AppOption = Annotated[
    str | None, Parameter(name="--app", help="The app, as run.py:dispatcher.")
]
"""The app as an option, where the first argument is something else."""

type AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]

type Debug = Annotated[bool, Parameter(name="--debug", negative="", help="Log at DEBUG level.")]

_DEFAULT_SCRIPT = "run.py"
_DEFAULT_NAME = "dispatcher"


def app_name(reference: str | None) -> str:
    """How deployments name the app that is meant: the given one, ATHANORE_APP's, or run.py's.

    Raises:
        ConfigurationError: none is given, and neither of the others is there.
    """
    return _normal(reference or _default())


def find_app(reference: str | None) -> tuple[str, AgentDispatcher]:
    """Import the app that is meant; returns how deployments name it, and the dispatcher.

    Raises:
        ConfigurationError: there is no such app, or its module cannot be imported.
    """
    from athanore.http_client.proxies import spare_loopback
    from athanore.runtime import apps

    spare_loopback()
    name = app_name(reference)
    try:
        return name, apps.load(name)
    except AthanoreError:
        raise
    except Exception as exc:
        import traceback

        last = traceback.extract_tb(exc.__traceback__)[-1]
        where = (
            f"{exc.filename}, line {exc.lineno}"
            if isinstance(exc, SyntaxError)
            else (f"{last.filename}, line {last.lineno}")
        )
        what = exc.msg if isinstance(exc, SyntaxError) else str(exc)
        raise ConfigurationError(
            f"{name} cannot be imported: {type(exc).__name__}: {what} ({where}).{_goes_on(name)}"
        ) from exc


def _goes_on(name: str) -> str:
    """What is said of an app that runs here with the code from before."""
    from athanore.launch.serving import find_serving

    found = find_serving(name, changed_too=True, starting_too=True)
    if found is None:
        return ""
    return f" The app that runs at {found.url} goes on with the code that it has."


def check_routes(name: str, dispatcher: AgentDispatcher) -> None:
    """Refuse an app without routes; a deploy would only remove what is there.

    Raises:
        ConfigurationError: the app has none.
    """
    if not dispatcher.routes and not dispatcher.settings.enable_queue_management:
        raise ConfigurationError(
            f"{name} has no routes; decorate a prompt function with "
            '@dispatcher.route(queue_name="Todo").'
        )


def with_prefect[T](
    action: Callable[[PrefectRunStore], Awaitable[T]],
    reference: str | None = None,
    *,
    starts: bool = False,
    without: Callable[[PrefectUnavailableError], Awaitable[T]] | None = None,
) -> T:
    """Call an action with a client of the Prefect server that runs.

    Args:
        reference: the app, whose Prefect may be starting.
        starts: where none runs and none is named, start one for as long as it takes.
        without: called instead of the action where none answers.

    Raises:
        PrefectUnavailableError: none runs, or it went away.
        DispatchError: the app is starting, or waits for Prefect.
        AthanoreError: it refused a request.
    """
    import asyncio

    from athanore.launch.prefect.prefect_server import find_prefect, prefect_errors, prefect_server

    # A command says itself what failed; a line on an event that was not sent adds nothing.
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)

    async def connect() -> T:
        if not starts:
            try:
                api = await find_prefect()
            except PrefectUnavailableError as exc:
                if without is None or isinstance(exc, PrefectRefusesError):
                    raise
                return await without(exc)
            return await at(api)
        async with prefect_server() as found:
            return await at(found.url)

    async def at(api: str) -> T:
        from prefect.settings import PREFECT_API_URL, temporary_settings

        from athanore.runs.connection.telling import telling_client

        with temporary_settings({PREFECT_API_URL: api}):
            async with telling_client() as client:
                return await action(client)

    try:
        with prefect_errors():
            return asyncio.run(connect())
    except PrefectRefusesError:
        raise  # waiting would not help
    except PrefectUnavailableError as exc:
        if (says := _not_now(reference)) is None:
            raise
        raise DispatchError(says) from exc


def _not_now(reference: str | None) -> str | None:
    """What is said of the app that is meant if it runs here and Prefect is away; else None."""
    from athanore.launch.serving import find_serving

    try:
        found = find_serving(app_name(reference), changed_too=True, starting_too=True)
    except ConfigurationError:
        return None
    if found is None:
        return None
    if found.is_ready:
        return (
            f"The app runs at {found.url}, and its Prefect does not answer. It waits for Prefect, "
            "and starts it anew if it has started it: give the command again in a while."
        )
    return (
        f"The app is starting, for {time.time() - found.since:.0f} s so far; its board page is "
        f"there already: {found.url}. Give the command again when Prefect is there, too."
    )


class Connected:
    """A command's client, as use cases take it."""

    def __init__(self, client: PrefectRunStore) -> None:
        self._client = client

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[PrefectRunStore]:
        """Give the client; see `athanore.services.access.PrefectAccess`."""
        from athanore.launch.prefect.prefect_server import prefect_errors

        with prefect_errors():
            yield self._client


class _Away:
    """A Prefect that does not answer, as use cases take it."""

    def __init__(self, error: PrefectUnavailableError) -> None:
        self._error = error

    def client(self) -> AbstractAsyncContextManager[PrefectRunStore]:
        """Raise what was found; see `athanore.services.access.PrefectAccess`."""
        raise self._error


def with_app[T](reference: str | None, action: Callable[[PrefectRunStore, App], Awaitable[T]]) -> T:
    """Call an action with a Prefect client and the app that is meant.

    Raises:
        ConfigurationError: see `find_app`; or the app of this name in Prefect is another.
        PrefectUnavailableError: see `with_prefect`.
    """
    name, dispatcher = find_app(reference)
    return with_prefect(lambda client: _in_app(client, name, dispatcher, action), name)


def with_board[T](
    reference: str | None,
    action: Callable[[PrefectAccess, App], Awaitable[T]],
    *,
    makes_board: bool = False,
) -> T:
    """Call an action on the board of the app that is meant, also where Prefect does not answer.

    Args:
        makes_board: one that does not exist is made first, as by the app's first start.

    Raises:
        ConfigurationError: see `with_app`; or the board is in the memory of the app's process.
        PrefectRefusesError: what answers at Prefect's address does not let us in.
    """
    name, dispatcher = find_app(reference)

    async def without(exc: PrefectUnavailableError) -> T:
        from prefect.settings import PREFECT_API_URL, temporary_settings

        from athanore.runtime.apps import App

        app = App(name, dispatcher)
        await _check_board(app, makes=makes_board)
        with temporary_settings({PREFECT_API_URL: None}):  # so that no event waits for it
            return await action(_Away(exc), app)

    async def connected(client: PrefectRunStore, app: App) -> T:
        await _check_board(app, makes=makes_board)
        return await action(Connected(client), app)

    return with_prefect(
        lambda client: _in_app(client, name, dispatcher, connected), name, without=without
    )


async def _check_board(app: App, *, makes: bool) -> None:
    """Refuse a board that would end with the command; make one that does not exist, if wanted."""
    from functools import partial

    board = await app.board.identity()
    if board is not None and not board.lasting:
        raise ConfigurationError(
            f"The board of {app.name} is {board.place}, and would end with this command. Start the "
            "app, and give the command while it runs."
        )
    if makes:
        await app.board.call(partial(make_board, app.dispatcher))


def make_board(dispatcher: AgentDispatcher) -> None:
    """Make the board of an app if it does not exist, as the app's first start does."""
    from athanore.queue_adapters.base import SupportsLook, SupportsPrepare

    board = dispatcher.board
    if not isinstance(board, SupportsLook) or board.exists():
        return
    if isinstance(board, SupportsPrepare):
        board.prepare(dispatcher.queue_names())


async def _in_app[T](
    client: PrefectRunStore,
    name: str,
    dispatcher: AgentDispatcher,
    action: Callable[[PrefectRunStore, App], Awaitable[T]],
) -> T:
    from athanore.deployments import check_app_record
    from athanore.runtime.apps import App
    from athanore.runtime.registry import registry

    app = App(name, dispatcher)
    await check_app_record(client, app)
    registry.register(app)
    try:
        return await action(client, app)
    finally:
        registry.unregister(app)


def user() -> str:
    """Who gives the command, for comments."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "the command line"


def _default() -> str:
    named = os.environ.get("ATHANORE_APP", "").strip()
    if "," in named:
        raise ConfigurationError(f"ATHANORE_APP names several apps ({named}); say which one.")
    if named:
        return named
    if Path(_DEFAULT_SCRIPT).is_file():
        return f"{_DEFAULT_SCRIPT}:{_DEFAULT_NAME}"
    raise ConfigurationError(
        "Which app? Name it, as in run.py:dispatcher, or set ATHANORE_APP; "
        f"there is no {_DEFAULT_SCRIPT} in this folder."
    )


def _normal(reference: str) -> str:
    """Name an app as every process in this folder does, so that deployments and workers agree."""
    location, _, attribute = reference.partition(":")
    if location.endswith(".py"):
        path, here = Path(location).resolve(), Path.cwd()
        location = str(path.relative_to(here) if path.is_relative_to(here) else path)
    return f"{location}:{attribute or _DEFAULT_NAME}"
