"""Which proxy leads to an address, by the usual variables of the environment.

An HTTP client that is given a transport of its own does not look there any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from athanore.errors import ConfigurationError
from athanore.http_client.addresses import without_login

# Not "[::1]", which httpx cannot read there.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def proxy_for(url: str) -> str | None:
    """Return the proxy's URL, or None where there is none: never on the way to this machine.

    Raises:
        ConfigurationError: it speaks SOCKS, and the package for that is missing.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or _is_here(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = (proxies.get(parts.scheme) or proxies.get("all") or "").strip()
    if not proxy:
        return None
    if proxy.lower().startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError(
            f"{without_login(proxy)} is a SOCKS proxy, for which httpx needs a package: "
            "`pip install socksio`, or set http_proxy and https_proxy to an HTTP proxy."
        )
    return proxy if "://" in proxy else f"http://{proxy}"  # other programs read it so, too


def by_way_of(url: str) -> str:
    """Say through which proxy an address is asked, for messages; nothing where there is none."""
    proxy = proxy_for(url)
    if proxy is None:
        return ""
    # Its password, if it has one, is nobody's business.
    return f" through the proxy {without_login(proxy)}"


def without_proxy_for_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what to set in an environment so that this machine is never reached by a proxy.

    Nothing where no proxy is set. What `no_proxy` names already stays in it.
    """
    if not any(_is_proxy(name) and value for name, value in environment.items()):
        return {}
    changes: dict[str, str] = {}
    for name, other in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        present = environment.get(name, environment.get(other, ""))
        listed = [entry.strip() for entry in present.split(",") if entry.strip()]
        if "*" not in listed:
            listed += [host for host in _LOOPBACK if host not in listed]
        changes[name] = ",".join(listed)
    return changes


def spare_loopback() -> None:
    """Have this process reach its own machine without a proxy, and so what it starts.

    Prefect's clients for logs and live events go by the environment, and take no other advice.
    """
    os.environ.update(without_proxy_for_loopback(os.environ))


def _is_proxy(name: str) -> bool:
    return name.lower().endswith("_proxy") and name.lower() != "no_proxy"


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
