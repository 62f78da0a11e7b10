"""Whether Prefect's API asks its callers who they are: what Athanore keeps there is no safer."""

from __future__ import annotations

import httpx

from athanore.proxies import proxy_for

_PATIENCE = 10.0


async def is_open(url: str) -> bool:
    """Tell whether a Prefect API at this address answers a request without credentials.

    Whoever can reach one that does may create runs, change deployments, pools and labels.
    """
    transport = httpx.AsyncHTTPTransport(verify=url.startswith("https:"), proxy=proxy_for(url))
    try:
        async with httpx.AsyncClient(transport=transport, timeout=_PATIENCE) as client:
            return (await client.get(f"{url}/admin/version")).status_code == 200
    except httpx.HTTPError:
        return False


HOW_TO_CLOSE = (
    "set PREFECT_SERVER_API_AUTH_STRING where Prefect's server runs, and PREFECT_API_AUTH_STRING "
    "where Athanore does (see docs/security.md)"
)
