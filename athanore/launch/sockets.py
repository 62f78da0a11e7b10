"""Binding the port of the task API, and saying who has it where that fails."""

from __future__ import annotations

import socket

from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError


def listen(host: str, port: int) -> socket.socket:
    """Bind the task API's port before anything else starts.

    Raises:
        ConfigurationError: the port is in use, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(128)
    except OSError as exc:
        sock.close()
        raise ConfigurationError(
            f"The task API cannot listen on {host}:{port} ({exc.strerror or exc}); "
            "set api_port= or ATHANORE_API_PORT to a free port."
        ) from exc
    return sock


async def listen_for(dispatcher: AgentDispatcher) -> socket.socket:
    """Bind the port of an app's task API; see `listen`.

    Raises:
        ConfigurationError: it is in use; the message says whose it is, if that is an app's.
    """
    host, port = dispatcher.settings.api_host, dispatcher.settings.api_port
    try:
        return listen(host, port)
    except ConfigurationError as exc:
        from athanore.launch.port_holder import taken

        raise await taken(exc, dispatcher.name, host, port) from exc
