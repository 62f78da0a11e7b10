"""Whether Prefect's API asks its callers who they are: what Athanore keeps there is no safer."""

from __future__ import annotations

import httpx

from athanore.http_client.addresses import without_login
from athanore.runs.connection.transports import probe_transport
from athanore.settings import Settings

_PATIENCE = 10.0


FOREIGN_HOST = "web-page.invalid"
"""A name under which no server is meant to be called, but that a web page could have."""


async def is_open(url: str, host: str | None = None) -> bool:
    """Tell whether a Prefect API at this address answers a request without credentials.

    Whoever can reach one that does may create runs, change deployments, pools and labels.

    Args:
        host: the Host header, if not the address's own. With `FOREIGN_HOST` it tells whether web
            pages can reach the API (by DNS rebinding).
    """
    headers = {} if host is None else {"Host": host}
    asked = without_login(url)
    try:
        async with httpx.AsyncClient(transport=probe_transport(asked), timeout=_PATIENCE) as client:
            response = await client.get(f"{asked}/admin/version", headers=headers)
            return response.status_code == 200
    except httpx.HTTPError:
        return False


async def advice(settings: Settings, url: str) -> str | None:
    """What to say where tokens are asked for over a Prefect that asks for nothing; None if fine."""
    if settings.api_auth != "token" or not await is_open(url):
        return None
    return (
        "The task API asks for tokens, but Prefect answers without credentials at "
        f"{without_login(url)}: who reaches it can start, change and cancel runs all the same. "
        f"To close it, {HOW_TO_CLOSE}."
    )


HOW_TO_CLOSE = (
    "set PREFECT_SERVER_API_AUTH_STRING where Prefect's server runs, and PREFECT_API_AUTH_STRING "
    "where Athanore does (see docs/security.md)"
)
