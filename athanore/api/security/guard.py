"""What every request must satisfy before anything looks at it: its sender and its size."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from athanore.api.problems import Problem
from athanore.http_client.hosts import HostPolicy

MAX_BODY = 1024 * 1024
MAX_HELD = 32 * MAX_BODY
"""Bytes of all bodies together that are not whole yet."""

MAX_DROPPED = 64 * MAX_BODY

_ANSWERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Middleware: foreign callers, and bodies that are too large or too slow, are refused.

    Answers say that nobody may guess their type, keep them, or embed them elsewhere.

    Args:
        patience: how long a body may take.
    """

    def __init__(
        self, app: ASGIApp, hosts: HostPolicy, patience: timedelta = timedelta(seconds=30)
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._patience = patience
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _with_headers(send)
        body = _Body(headers, self)
        try:
            self._check_sender(scope["method"], headers)
            await body.read(receive, self._patience)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        finally:
            body.let_go()
        await self._app(scope, body.replay(receive), send)

    def hold(self, size: int) -> None:
        """Count bytes of bodies that are not whole yet; a negative number lets go of some.

        Raises:
            Problem: they are too many.
        """
        if size > 0 and self._held + size > MAX_HELD:
            raise Problem(
                503,
                "too-many-bodies",
                "Too many requests are being received; try again soon.",
                headers={"Retry-After": "5", "Connection": "close"},
            )
        self._held += size

    def _check_sender(self, method: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if not self._hosts.names_us(hosts):
            raise Problem(
                403,
                "foreign-host",
                f"The Host header {', '.join(hosts)!r} does not name this server. Call it by the "
                "address in ATHANORE_API_URL.",
            )
        origins = headers.getlist("origin")
        if not self._hosts.may_call(origins, hosts[0]) or _is_foreign(method, headers):
            page = ", ".join(origins) or "elsewhere"
            raise Problem(
                403,
                "foreign-origin",
                f"Web pages from {page!r} may not call this API; only its own may.",
            )


def _is_foreign(method: str, headers: Headers) -> bool:
    """Tell whether a browser says that another page asks, other than by a link to follow."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    followed = headers.get("sec-fetch-mode") == "navigate"
    return not (followed and method == "GET" and headers.get("sec-fetch-dest") == "document")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _ANSWERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


class _Body:
    """The body of one request: read whole before anything looks at it."""

    def __init__(self, headers: Headers, guard: Guard) -> None:
        length = headers.get("content-length", "")
        self._announced = int(length) if length.isascii() and length[:20].isdigit() else 0
        self._waits = headers.get("expect", "").lower() == "100-continue"
        self._guard = guard
        self._held = 0
        self._more = True
        self._data: bytes | None = None

    async def read(self, receive: Receive, patience: timedelta) -> None:
        """Read it; it stays empty if the caller went away.

        Raises:
            Problem: it is too large or too slow, or there are too many. A caller that does not wait
                for an answer before it sends could not read one, so the rest is dropped first.
        """
        if self._announced > MAX_BODY and self._waits:
            raise _too_large()
        try:
            async with asyncio.timeout(patience.total_seconds()):
                if self._announced <= MAX_BODY:
                    await self._take(receive)
                if self._is_too_large:
                    await self._drop(receive)
                    raise _too_large()
        except TimeoutError:
            raise _too_slow(patience) from None

    @property
    def _is_too_large(self) -> bool:
        return max(self._announced, self._held) > MAX_BODY

    async def _take(self, receive: Receive) -> None:
        """Read it, but no further than the limit."""
        chunks: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            chunk: bytes = message.get("body", b"")
            self._guard.hold(len(chunk))
            self._held += len(chunk)
            chunks.append(chunk)
            self._more = message.get("more_body", False)
            if self._is_too_large:
                return
            if not self._more:
                self._data = b"".join(chunks)
                return

    async def _drop(self, receive: Receive) -> None:
        """Read the rest of a body that is too large, so that its sender gets to read the answer."""
        dropped = 0
        while self._more and dropped < MAX_DROPPED:
            message = await receive()
            dropped += len(message.get("body", b""))
            self._more = message["type"] == "http.request" and message.get("more_body", False)

    def let_go(self) -> None:
        """What is whole counts no more: whoever sent it is answered soon."""
        self._guard.hold(-self._held)
        self._held = 0

    def replay(self, receive: Receive) -> Receive:
        """A `receive` that gives the body in one piece, and then what comes."""

        async def replayed() -> Message:
            if self._data is None:
                return await receive()
            message: Message = {"type": "http.request", "body": self._data, "more_body": False}
            self._data = None
            return message

        return replayed


def _too_large() -> Problem:
    return Problem(
        413,
        "body-too-large",
        "The body is over 1 MiB. Put large results into a file or a repository, and its place "
        "into the comment.",
        headers={"Connection": "close"},
    )


def _too_slow(patience: timedelta) -> Problem:
    return Problem(
        408,
        "body-too-slow",
        f"The body did not arrive within {patience.total_seconds():g} s.",
        headers={"Connection": "close"},
    )
