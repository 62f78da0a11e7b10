"""The way to Prefect's API: connections with Prefect's own settings, below Prefect's client.

Prefect's client tries a request again for about a minute while its server is away. A worker has to
wait for longer, and the task API for less: each has a transport of its own around this one.
"""

from __future__ import annotations

import ssl

import httpx
from prefect.settings import get_current_settings

from athanore.proxies import proxy_for

_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=25)


def http_transport(retries: int = 0) -> httpx.AsyncHTTPTransport:
    """Make a pool of connections; TLS, HTTP/2 and proxies as Prefect's client would have them.

    Args:
        retries: how often to try to connect again, over some seconds.
    """
    api = get_current_settings().api
    return httpx.AsyncHTTPTransport(
        verify=_verify(),
        http2=api.enable_http2,
        limits=_LIMITS,
        proxy=proxy_for(api.url or ""),
        retries=retries,
    )


def _verify() -> ssl.SSLContext | bool:
    api = get_current_settings().api
    if api.tls_insecure_skip_verify:
        return False
    return ssl.create_default_context(cafile=api.ssl_cert_file) if api.ssl_cert_file else True
