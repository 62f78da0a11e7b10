"""The processes of a production set-up, each on its own: the worker, and the task API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError, PrefectUnavailableError
from athanore.launch.foreground import app_is_checked, at_work, tell_routes, work
from athanore.launch.prefect.prefect_server import find_prefect, prefect_errors
from athanore.launch.serving import noted
from athanore.launch.sockets import listen_for
from athanore.launch.stopping import Stop, in_foreground
from athanore.logs import configure_logging
from athanore.runs.links import ui_url
from athanore.settings import LogFormat

if TYPE_CHECKING:
    from athanore.runtime.apps import App
    from athanore.runtime.routes.route_registry import Routes

logger = logging.getLogger("athanore")

_LOST_POLLS_EVERY = 30.0
"""Seconds; what is lost is known after some minutes."""

_PREFECT_INTERVAL = timedelta(seconds=3)


def run_worker(
    dispatcher: AgentDispatcher,
    reference: str,
    *,
    debug: bool = False,
    log_format: LogFormat | None = None,
) -> None:
    """Serve both work pools of an app until Ctrl-C or SIGTERM; running agents may then finish.

    Raises:
        ConfigurationError: the app cannot work as it is; the message says what to mend.
        PrefectUnavailableError: PREFECT_API_URL is not set, and no server is on Prefect's port.
    """
    configure_logging(debug, log_format or dispatcher.settings.log_format)
    settings = dispatcher.settings
    if settings.api_port == 0 and not settings.api_url:
        raise ConfigurationError(
            "api_port=0 leaves this worker's agents without the address of the task API; "
            "set api_url= (ATHANORE_API_URL) or a fixed api_port=."
        )
    in_foreground(lambda stop: _worker(dispatcher, reference, stop))


async def _worker(dispatcher: AgentDispatcher, reference: str, stop: Stop) -> None:
    stop.bind()
    if not await app_is_checked(dispatcher, reference, stop):
        return
    prefect_api = await once_prefect_answers(find_prefect, stop)
    if prefect_api is None:
        return
    async with at_work(dispatcher, reference, prefect_api) as app:
        if await once_prefect_answers(lambda: _apply_limits(app), stop) is None:
            return
        logger.info("Agents reach the task API at %s.", app.api_url, extra={"action": "started"})
        await work(app, stop)


async def once_prefect_answers[T](
    ask: Callable[[], Awaitable[T]], stop: Stop, every: timedelta = _PREFECT_INTERVAL
) -> T | None:
    """Ask Prefect for something; wait for one that is named and away. None when told to stop."""
    from prefect.settings import get_current_settings

    waiting = False
    while True:
        try:
            with prefect_errors():
                return await ask()
        except PrefectUnavailableError as exc:
            if not get_current_settings().api.url:
                raise
            if not waiting:
                logger.warning("%s The worker waits for it.", exc, extra={"action": "board_away"})
            waiting = True
        if await stop.requested_within(every):
            return None


async def _apply_limits(app: App) -> Routes:
    """Set the pools' limits from the code, unless another version of the app is deployed.

    A worker of an older version that restarts during an upgrade must not bring its limits back.
    """
    from athanore.deployments import claim_app, make_pools
    from athanore.deployments.plan import plan
    from athanore.runs.connection.telling import telling_client
    from athanore.runtime.routes.route_registry import deployments_of

    async with telling_client() as client:
        await claim_app(client, app, serves=True)
        routes = await app.routes.read(client)
        mine = plan(app.dispatcher, app.reference, routes)
        versions = {d.version for d in (await deployments_of(client, app.name)).values()}
        if not versions or mine.version in versions:
            await make_pools(client, mine.pools)
    tell_routes(routes, app.dispatcher)
    if not versions:
        logger.warning(
            "No route of %r is deployed yet; run `athanore deploy %s`.",
            app.name,
            app.reference,
            extra={"action": "not_deployed"},
        )
    elif versions != {mine.version}:
        logger.warning(
            "This worker has version %s of %r; deployed is %s.",
            mine.version,
            app.name,
            ", ".join(sorted(v or "none" for v in versions)),
            extra={"action": "version_differs"},
        )
    return routes


def run_api(
    dispatcher: AgentDispatcher,
    reference: str,
    *,
    debug: bool = False,
    log_format: LogFormat | None = None,
) -> None:
    """Serve the task API alone until Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: the app cannot work as it is, or the port is taken.
        PrefectUnavailableError: PREFECT_API_URL is not set, and no server is on Prefect's port.
    """
    configure_logging(debug, log_format or dispatcher.settings.log_format)
    in_foreground(lambda stop: _api(dispatcher, reference, stop))


async def _api(dispatcher: AgentDispatcher, reference: str, stop: Stop) -> None:
    stop.bind()
    if not await app_is_checked(dispatcher, reference, stop):
        return
    settings = dispatcher.settings
    with await listen_for(dispatcher) as api_socket:
        from athanore.api.server import serve_api

        host, port = api_socket.getsockname()[:2]
        prefect_api = await _prefect_or_later()
        async with at_work(
            dispatcher, reference, prefect_api, settings.agent_api_url(host, port)
        ) as app:
            await _claim_or_later(app)
            logger.info("Board:   %s", app.api_url, extra={"action": "started"})
            logger.info("Prefect: %s", ui_url(prefect_api), extra={"action": "started"})
            logger.info("API:     %s/docs", app.api_url, extra={"action": "started"})
            serving = asyncio.create_task(serve_api(app, api_socket))
            looking = asyncio.create_task(_look_for_lost_polls(app))
            stopping = asyncio.create_task(stop.requested())
            with noted(dispatcher, reference, api_socket, prefect_api):
                await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            looking.cancel()
            serving.cancel()
            await asyncio.gather(serving, looking, return_exceptions=True)
            if not serving.cancelled() and (error := serving.exception()) is not None:
                raise error


async def _look_for_lost_polls(app: App) -> None:
    """End polls of lost workers; runs until cancelled.

    Prefect's own workers look after nothing: with them only polls do, and a lost poll keeps those
    of its route away.
    """
    from athanore.flows.sweeping.sweep import end_lost_polls
    from athanore.runs.connection.transports import prefect_client

    while True:
        await asyncio.sleep(_LOST_POLLS_EVERY)
        try:
            with prefect_errors():
                async with prefect_client() as client:
                    await end_lost_polls(client, app)
        except Exception as exc:
            logger.debug("Lost polls are looked for later: %s", exc)


async def _claim_or_later(app: App) -> None:
    """Note that this is the app of its name, if Prefect is there to note it."""
    from athanore.deployments import claim_app
    from athanore.runs.connection.transports import prefect_client

    try:
        with prefect_errors():
            async with prefect_client() as client:
                await claim_app(client, app, serves=True)
    except PrefectUnavailableError as exc:
        logger.debug("%s", exc)


async def _prefect_or_later() -> str:
    """Find Prefect; one that is named and away may come back: the board's part works without."""
    from athanore.runs.links import named_api

    try:
        return await find_prefect()
    except PrefectUnavailableError as exc:
        named = named_api()
        if named is None:
            raise
        logger.warning("%s Dispatch waits until it does.", exc, extra={"action": "board_away"})
        return named
