"""Whom a server on a loopback port answers: the Host and Origin of its requests.

A loopback port is no boundary. Any web page in a browser on this machine can send requests to it,
open WebSockets to it, and read the answers as well if its name is made to resolve to 127.0.0.1 (DNS
rebinding). Such requests give themselves away by their Host or Origin header.

The task API and the Prefect server that we start have this rule in common.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

_HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{0,5}))?", re.ASCII
)
_WILDCARDS = frozenset({"0.0.0.0", "::", ""})


class HostPolicy:
    """The names under which a server may be called, and the web pages that may call it.

    Args:
        bound: the address that the server binds.
        urls: where others are told to find it; their host names are names of the server.
        origins: web pages that may call it besides its own, as `https://host:port`; `*`: all.
    """

    def __init__(self, bound: str, *urls: str, origins: Iterable[str] = ()) -> None:
        named = {(urlsplit(url.strip()).hostname or "").lower() for url in urls}
        self._names = ({bound.lower()} | named) - _WILDCARDS
        self._wildcard = bound in _WILDCARDS
        if self._wildcard:
            self._names.add(socket.gethostname().lower())
        self._origins = frozenset(o.strip().rstrip("/").lower() for o in origins) - {""}

    def allows(self, host: str) -> bool:
        """Tell whether a Host header names this server."""
        match = _HOST.fullmatch(host)
        if match is None or int(match["port"] or 0) > 65535:
            return False
        name = (match["address"] or match["name"]).lower()
        if is_loopback(name) or name in self._names:
            return True
        # An address instead of a name cannot be rebound; only a name can.
        return self._wildcard and _is_address(name)

    def names_us(self, hosts: Sequence[str]) -> bool:
        """Tell whether a request's Host headers are one that names this server."""
        return len(hosts) == 1 and self.allows(hosts[0])

    def may_call(self, origins: Iterable[str], host: str) -> bool:
        """Tell whether a request comes from no web page but an own or an allowed one.

        Args:
            origins: its Origin headers; programs send none.
            host: its Host header.
        """
        own = {f"{scheme}://{host}".lower() for scheme in ("http", "https")}
        return "*" in self._origins or all(o.lower() in own | self._origins for o in origins)


def is_loopback(host: str) -> bool:
    """Tell whether an address is only reachable from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
