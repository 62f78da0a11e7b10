"""Everything in one process, in the foreground: what `dispatcher.run()` and `athanore up` do."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from athanore.api.security.binding import check_binding
from athanore.dispatcher import AgentDispatcher
from athanore.errors import AthanoreError, BoardUnavailableError, reason
from athanore.launch.early_page import EarlyPage, early_page
from athanore.launch.inspection.at_start import tell_what_else
from athanore.launch.inspection.checks import check_app
from athanore.launch.inspection.mcp_extra import without_tools
from athanore.launch.inspection.mending import after_asking_for_queues
from athanore.launch.renewal.reference import script_reference
from athanore.launch.renewal.restarting import Restarter, began_at, begin_anew
from athanore.launch.serving import Note, noted
from athanore.launch.sockets import listen_for
from athanore.launch.stopping import Stop, in_foreground
from athanore.launch.terminal import keyboard
from athanore.launch.terminal.ending import LastLine, shut_down
from athanore.launch.unsent import send_the_rest
from athanore.logs import calm_prefect, configure_logging
from athanore.runtime.margins import Margins
from athanore.runtime.secrets.environment import secret_variables
from athanore.settings import LogFormat, explain_prefect
from athanore.texts import shown

if TYPE_CHECKING:
    from rich.console import Console

    from athanore.launch.prefect.prefect_server import PrefectServer
    from athanore.runtime.apps import App
    from athanore.runtime.routes.route_registry import Routes

logger = logging.getLogger("athanore")

_BOARD_INTERVAL = timedelta(seconds=2)


def run_app(
    dispatcher: AgentDispatcher,
    *,
    reference: str | None = None,
    debug: bool = False,
    log_format: LogFormat | None = None,
) -> None:
    """Run an app in the foreground until Ctrl-C, SIGTERM or SIGHUP (its terminal is closed).

    Args:
        reference: where the app is, as `run.py:dispatcher`; found out by itself for a script.
        log_format: see `configure_logging`; by default what the settings say.

    Raises:
        SystemExit: with 2 after a mistake in the set-up, whose one line is on stderr.
    """
    screen = configure_logging(debug, log_format or dispatcher.settings.log_format)

    app_reference = reference or ""

    def run() -> bool:
        nonlocal app_reference
        app_reference = app_reference or script_reference(dispatcher)
        return in_foreground(
            lambda stop: serve(dispatcher, app_reference, stop, screen), may_begin_anew=True
        )

    try:
        anew = after_asking_for_queues(dispatcher, run)
    except (AthanoreError, ValueError, RuntimeError) as exc:
        says = str(exc) if isinstance(exc, AthanoreError) else explain_prefect(exc)
        if says is None:
            raise
        sys.stderr.write(f"athanore: {shown(says)}\n")
        if app_reference:
            tell_what_else(app_reference, says)
        raise SystemExit(2) from None
    if anew:
        begin_anew()


async def serve(
    dispatcher: AgentDispatcher,
    reference: str,
    stop: Stop,
    screen: Console | None = None,
    margins: Margins | None = None,
) -> None:
    """Run the Prefect server if need be, the worker and the task API, until asked to stop.

    Args:
        screen: shows live how the app is doing.
        margins: other ones than usual, for the app.
    """
    stop.bind()
    settings = dispatcher.settings
    if not await app_is_checked(dispatcher, reference, stop):
        return
    check_binding(settings, settings.api_host)
    if any(route.approve_before is not None for route in dispatcher.routes.values()):
        from athanore.launch.prefect.prefect_access import check_tokens

        check_tokens(dispatcher)  # what is known now need not wait for Prefect
    async with AsyncExitStack() as stack:
        api_socket = stack.enter_context(await listen_for(dispatcher))
        host, port = api_socket.getsockname()[:2]
        api_url = settings.agent_api_url(host, port)
        early = stack.enter_context(early_page(dispatcher, api_socket, api_url))
        note = stack.enter_context(noted(dispatcher, reference, api_socket))
        keys = keyboard.Keys(api_url, stop)
        has_keys = stack.enter_context(keyboard.listening(keys.actions))
        logger.info("Board:   %s", api_url, extra={"action": "started"})
        from athanore.launch.prefect.prefect_server import prefect_server

        server = prefect_server(_import_the_rest, secret_variables(dispatcher))
        prefect = await _unless_stopped(stop, stack.enter_async_context(server))
        if prefect is None:
            return
        app = await stack.enter_async_context(
            at_work(dispatcher, reference, prefect.url, api_url, margins)
        )
        note.tell(prefect=prefect.url)
        started = Started(early, note, keys, f" {keyboard.HINT}" if has_keys else "")
        await _serve_app(app, prefect, api_socket, started, stop, screen)


@dataclass(frozen=True, slots=True)
class Started:
    """What is there before Prefect is.

    Attributes:
        hint: what is said about keys when it is ready.
    """

    page: EarlyPage
    note: Note
    keys: keyboard.Keys
    hint: str


async def app_is_checked(dispatcher: AgentDispatcher, reference: str, stop: Stop) -> bool:
    """See `check_app`; wait for a board that is away or broken. False when told to stop.

    Raises:
        ConfigurationError: something has to be mended before a start.
        BoardError: the board can be reached, and refuses.
    """
    check = partial(check_app, dispatcher, reference)
    waiting = ""
    while True:
        try:
            if await _unless_stopped(stop, _in_thread(check)) is None:
                return False
        except BoardUnavailableError as exc:
            if (problem := reason(exc)) != waiting:
                logger.warning(
                    "%s The start waits for it.", problem, extra={"action": "board_away"}
                )
            waiting = problem
        else:
            if waiting:
                logger.info(
                    "The board can be read; the start goes on.", extra={"action": "board_back"}
                )
            if (missing := without_tools(dispatcher)) is not None:
                logger.warning("%s", missing, extra={"action": "extra_missing"})
            return True
        if await stop.requested_within(_BOARD_INTERVAL):
            return False


async def _in_thread(check: Callable[[], None]) -> bool:
    """Run a check in a thread that keeps nothing from ending: a board may take long to answer."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bool] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(True)
        else:
            result.set_exception(error)

    def run() -> None:
        error = None
        try:
            check()
        except BaseException as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="athanore-check", daemon=True).start()
    return await result


def _import_the_rest() -> None:
    """Import what is needed once Prefect is there: that takes seconds, as its server's start.

    Not in a thread: two that import parts of Prefect may wait for each other.
    """
    for module in ("athanore.api.server", "athanore.deployments", "athanore.worker"):
        import_module(module)


async def _unless_stopped[T](stop: Stop, start: Coroutine[Any, Any, T]) -> T | None:
    """Wait for a start that may take long; None if it was cut short by a request to stop."""
    starting = asyncio.create_task(start)
    stopping = asyncio.create_task(stop.requested())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
    return None if starting.cancelled() else starting.result()


@asynccontextmanager
async def at_work(
    dispatcher: AgentDispatcher,
    reference: str,
    prefect_api: str,
    api_url: str = "",
    margins: Margins | None = None,
) -> AsyncGenerator[App]:
    """Let the flows of this process find the app, and use the Prefect server at this address.

    Args:
        api_url: where agents reach the task API; by default what the settings say.
        margins: other ones than usual, for the app.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    calm_prefect()
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        from athanore.flows import conflicts
        from athanore.launch.prefect import prefect_access
        from athanore.launch.renewal.code import check_auto
        from athanore.runtime.apps import App
        from athanore.runtime.registry import registry

        await prefect_access.check_gates(dispatcher, prefect_api)
        if (advice := await prefect_access.advice(dispatcher.settings, prefect_api)) is not None:
            logger.warning("%s", advice, extra={"action": "prefect_open"})
        app = App(reference, dispatcher, api_url, margins=margins)
        if (reload := dispatcher.settings.reload) != "ask":
            check_auto(app.file, insecurely=reload == "auto-insecurely")
        registry.register(app)
        try:
            yield app
        finally:
            registry.unregister(app)
            await conflicts.watch_no_more(app)
            await send_the_rest()


async def _serve_app(
    app: App,
    prefect: PrefectServer,
    api_socket: socket.socket,
    started: Started,
    stop: Stop,
    screen: Console | None,
) -> None:
    from athanore.deployments import claim_app, deploy, planned, poll_now
    from athanore.launch.prefect.prefect_server import prefect_errors
    from athanore.launch.renewal.reloading import Reloader, let_go_on
    from athanore.runs.connection.telling import telling_client
    from athanore.runs.links import ui_url

    with prefect_errors():
        async with telling_client() as client:
            await claim_app(client, app, serves=True)
            await deploy(client, await planned(client, app.dispatcher, app.reference))
            routes = await app.routes.read(client, fresh=True)
            await let_go_on(client, app, routes)
            await poll_now(client, app.name, routes)
    tell_routes(routes, app.dispatcher)
    logger.info("Prefect: %s", ui_url(prefect.url), extra={"action": "started"})
    logger.info("API:     %s/docs", app.api_url, extra={"action": "started"})
    note = started.note
    reloader = Reloader(app, note.renew)
    app.reload = reloader.take_over
    services: list[Coroutine[Any, Any, None]] = [
        _serve_instead(started, app, api_socket),
        reloader.watch(),
        Restarter(app.reference, stop, note).watch(),
    ]
    if prefect.watch is not None:
        services.append(prefect.watch())
    line = None
    if screen is not None:
        services.append(_show(screen, app, line := LastLine()))
    await started.keys.ready(app, reloader.by_key)
    took = time.time() - began_at()
    logger.info("Ready in %.1f s.%s", took, started.hint, extra={"action": "started"})
    await work(app, stop, *services, line=line)


async def _serve_instead(started: Started, app: App, api_socket: socket.socket) -> None:
    """Serve the task API where the early page was; who calls in between waits for a moment."""
    from athanore.api.server import serve_api

    await asyncio.to_thread(started.page.stop)
    started.note.tell(is_ready=True, restarts=True)
    await serve_api(app, api_socket)


async def _show(screen: Console, app: App, line: LastLine) -> None:
    from athanore.launch.terminal.display import show_live
    from athanore.runs.connection.transports import prefect_client

    try:
        async with prefect_client() as client:
            await show_live(screen, client, app, has_workers=True, line=line)
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        await asyncio.Event().wait()  # the terminal is gone; whether we end is for SIGHUP to say


def tell_routes(routes: Routes, dispatcher: AgentDispatcher) -> None:
    """Log what is watched, and what is created by the clock."""
    for route in (k.route for k in routes.values()):
        named = "" if route.name == route.queue_name else f" (route {route.name!r})"
        logger.info(
            "Watching %r%s every %g s: %s",
            route.queue_name,
            named,
            route.poll_interval.total_seconds(),
            route.describe(dispatcher.default_agent),
            extra={"action": "started"},
        )
    for schedule in dispatcher.schedules.values():
        logger.info(
            "Creating %r in %r at %r (%s).",
            schedule.name,
            schedule.queue,
            schedule.cron,
            schedule.time_zone,
            extra={"action": "started"},
        )


async def work(
    app: App, stop: Stop, *services: Coroutine[Any, Any, None], line: LastLine | None = None
) -> None:
    """Run the app's two workers, and services beside them, until asked to stop or one ends.

    At a stop running agents may finish within `shutdown_grace`.

    Args:
        line: see `shut_down`.
    """
    from athanore import names
    from athanore.worker import AthanoreWorker

    workers = [
        AthanoreWorker(
            work_pool_name=pool,
            name=f"{names.worker_name()} {pool}",
            apps=[app],
            leave=stop.request,
        )
        for pool in (names.agents_pool(app.name), names.polls_pool(app.name))
    ]
    beside = [asyncio.create_task(service) for service in services]
    started = [asyncio.create_task(w.start(printer=_to_log)) for w in workers]
    stopping = asyncio.create_task(stop.requested())
    try:
        await asyncio.wait([stopping, *beside, *started], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        grace = timedelta(seconds=app.dispatcher.settings.shutdown_grace)
        await shut_down(workers, started, stop, grace, line)
        for task in beside:
            task.cancel()
        results = await asyncio.gather(*beside, *started, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def _to_log(*words: Any, **_: Any) -> None:
    logger.debug(" ".join(str(w) for w in words))
