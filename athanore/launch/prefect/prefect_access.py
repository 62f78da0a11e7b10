"""Whether Prefect's API asks its callers who they are: what Athanore keeps there is no safer."""

from __future__ import annotations

import httpx

from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError
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


async def check_gates(dispatcher: AgentDispatcher, url: str) -> None:
    """Refuse routes whose approvals agents could give themselves, here or in Prefect.

    Raises:
        ConfigurationError: the message names such a route, and says what to do.
    """
    check_tokens(dispatcher)
    if (what := _gated(dispatcher)) is not None and await is_open(url):
        raise ConfigurationError(
            f"{what} approving in Prefect, which answers without credentials at "
            f"{without_login(url)}. To close it, {HOW_TO_CLOSE}. {_INSTEAD}"
        )


def check_tokens(dispatcher: AgentDispatcher) -> None:
    """Refuse routes whose approvals agents could give themselves over the task API.

    Raises:
        ConfigurationError: the message names such a route, and says what to do.
    """
    if (what := _gated(dispatcher)) is not None and dispatcher.settings.api_auth != "token":
        raise ConfigurationError(
            f"{what} approving, because the task API asks for no tokens. Set "
            f"ATHANORE_API_AUTH=token and ATHANORE_API_KEY (see docs/security.md). {_INSTEAD}"
        )


def _gated(dispatcher: AgentDispatcher) -> str | None:
    """How an error begins about the first route whose approvals must be safe."""
    gated = (r for r in dispatcher.routes.values() if r.approve_before is not None)
    route = next((r for r in gated if not r.approve_insecurely), None)
    if route is None:
        return None
    return f"Route {route.name!r}: approve_before={route.approve_before!r} keeps nobody from"


_INSTEAD = "Or accept that with approve_insecurely=True."

HOW_TO_CLOSE = (
    "set PREFECT_SERVER_API_AUTH_STRING where Prefect's server runs, and PREFECT_API_AUTH_STRING "
    "where Athanore does (see docs/security.md)"
)
