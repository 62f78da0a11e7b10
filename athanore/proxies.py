"""Which proxy leads to an address, by the usual variables of the environment.

An HTTP client that is given a transport of its own does not look there any more.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_for(url: str) -> str | None:
    """Return the proxy's URL, or None where there is none: never on the way to this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or _is_here(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
