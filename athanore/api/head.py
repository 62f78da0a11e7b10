"""HEAD, answered as GET is, without the body."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """Middleware: HEAD works where GET does, but not on streams, which have no end.

    The server itself leaves out the body: it still knows the method.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and not _is_stream(scope["path"]):
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


def _is_stream(path: str) -> bool:
    return path == "/overview/events" or (path.startswith("/tasks/") and path.endswith("/events"))
