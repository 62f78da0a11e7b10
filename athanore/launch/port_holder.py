"""Who has the port that the task API is to have: this app, another one, or something else."""

from __future__ import annotations

import ast
import re
from contextlib import suppress

import httpx
import psutil

from athanore.errors import ConfigurationError
from athanore.http_client.addresses import address_of
from athanore.http_client.proxies import proxy_for

_PATIENCE = 10.0
_GUIDE = re.compile(r"Athanore task API of the app ('[^\n]*'|\"[^\n]*\")\.\n")


async def app_at(host: str, port: int) -> str | None:
    """Return the name of the app whose task API answers there; None for anything else.

    No key is sent: nobody knows who listens. So the guide is asked, which needs none.
    """
    url = address_of(host, port)
    transport = httpx.AsyncHTTPTransport(proxy=proxy_for(url))
    try:
        async with httpx.AsyncClient(transport=transport, timeout=_PATIENCE) as client:
            answer = await client.get(f"{url}/")
        found = _GUIDE.match(answer.text)
        name = ast.literal_eval(found[1]) if found else None
    except (httpx.HTTPError, ValueError, SyntaxError):
        return None
    return name if isinstance(name, str) else None


async def taken(error: ConfigurationError, name: str, host: str, port: int) -> ConfigurationError:
    """Say who has the port, for an app of this name that cannot have it.

    Args:
        error: what is said if that is not found out.
    """
    found = await app_at(host, port)
    if found is None:
        return error
    url, process = address_of(host, port), _process(port)
    who = "" if process is None else f" (process {process})"
    if found == name:
        return ConfigurationError(f"The app {name!r} runs here already: {url}{who}.")
    return ConfigurationError(
        f"{url} is the task API of another app, {found!r}{who}; "
        "set api_port= or ATHANORE_API_PORT to a free port."
    )


def _process(port: int) -> int | None:
    """Who listens on a port, where the system tells."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and getattr(connection.laddr, "port", None) == port:
                return connection.pid
    return None
