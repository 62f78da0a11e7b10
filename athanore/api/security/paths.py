"""Names in paths: any queue name or task id works, percent-encoded or not.

Routes are matched against the path as it was sent, and a name is decoded only afterwards. So
`/tasks/a%2Fcomments` is the task `a/comments` and never the comments of `a`; and a slash that a
caller forgot to encode still reaches the queue `a/b`.
"""

from __future__ import annotations

from typing import override
from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send


class NameConvertor(Convertor[str]):
    """A path parameter that holds a name as people wrote it."""

    regex = ".+"

    @override
    def convert(self, value: str) -> str:
        return unquote(value)

    @override
    def to_string(self, value: str) -> str:
        return quote(value, safe="")


class IdConvertor(NameConvertor):
    """A path parameter that more of a path may follow: its slashes must be encoded."""

    regex = "[^/]+"


register_url_convertor("name", NameConvertor())
register_url_convertor("id", IdConvertor())


class RawPaths:
    """Middleware: have routes matched against the path as sent, with its percent signs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path")
        if scope["type"] == "http" and isinstance(raw, bytes):
            scope = {**scope, "path": raw.decode("latin-1")}
        await self._app(scope, receive, send)
