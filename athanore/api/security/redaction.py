"""Keeping secrets out of what the API answers."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from athanore.runtime.secrets.redaction import Redactor


class Redaction:
    """Middleware: no answer contains a secret; pieces of a stream are looked at alone.

    The page's own files are the same everywhere, and a word in them is no secret.
    """

    def __init__(self, app: ASGIApp, redactor: Redactor) -> None:
        self._app = app
        self._redactor = redactor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/static/"):
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def redacted(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if message["type"] == "http.response.body":
                body = self._redactor.data(message.get("body", b""))
                if start is not None:
                    headers = MutableHeaders(raw=start["headers"])
                    if "content-length" in headers and not message.get("more_body", False):
                        headers["content-length"] = str(len(body))
                    opening, start = start, None
                    await send(opening)
                message = {**message, "body": body}
            await send(message)

        await self._app(scope, receive, redacted)
