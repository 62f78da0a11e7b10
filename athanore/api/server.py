"""Serving the API with uvicorn, inside an event loop that somebody else runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import override

import uvicorn

from athanore.api.app import create_api
from athanore.api.connections import MAX_HEADERS, bounded_protocol
from athanore.api.security.binding import check_binding
from athanore.errors import AthanoreError
from athanore.runtime.apps import App

_GRACE = 5


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs the loop."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve_api(app: App, sock: socket.socket) -> None:
    """Serve the API on a listening socket until the calling task is cancelled.

    A cancellation closes the socket, lets requests under way finish for up to 5 s and is then
    raised again. A second one ends them at once.

    Raises:
        ConfigurationError: the socket's address needs `api_auth="token"`.
    """
    if sock.family != socket.AF_UNIX:
        check_binding(app.dispatcher.settings, str(sock.getsockname()[0]))
    api = create_api(app)
    # Left out, workers= and forwarded_allow_ips= would come from variables for other servers.
    config = uvicorn.Config(
        api,
        workers=1,
        forwarded_allow_ips="",
        lifespan="on",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE,
        http=bounded_protocol(),
        h11_max_incomplete_event_size=MAX_HEADERS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]), name="task API")
    try:
        with app.local_runs.serving_api():
            await asyncio.shield(serving)
    except asyncio.CancelledError:
        api.state.service.stop()
        server.should_exit = True
        await _until_stopped(server, serving)
        raise
    if not server.started:
        raise AthanoreError("The task API did not start; its log says why.")


async def _until_stopped(server: _Server, serving: asyncio.Task[None]) -> None:
    """Wait for the server's end whatever else is cancelled meanwhile."""
    while not serving.done():
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.force_exit = True
        except Exception:
            break
