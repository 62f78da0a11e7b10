"""Keeps web pages away from the Prefect server that we start.

Prefect itself answers any Host, takes a POST without Content-Type as JSON (so that a page needs no
permission to send one), and opens its event streams to any page.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from athanore.http_client.hosts import HostPolicy

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION = 1008


class PrefectGuard:
    """Refuses requests and WebSockets with a foreign Host, and those of foreign web pages."""

    def __init__(self, app: AsgiApp, hosts: HostPolicy) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal})
        else:
            body = json.dumps({"detail": refusal}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope) -> str | None:
        """Say why a request is refused, if it is."""
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if not self._hosts.names_us(hosts):
            return (
                f"The Host header {', '.join(hosts)!r} does not name this Prefect server. "
                "If it should, set PREFECT_UI_URL to the address at which others find the server."
            )
        if not self._hosts.may_call(origins, hosts[0]):
            return (
                f"Web pages from {', '.join(origins)!r} may not call this Prefect server. "
                "If they should, add them to PREFECT_SERVER_CORS_ALLOWED_ORIGINS."
            )
        return None


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
