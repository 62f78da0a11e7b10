"""Connections of the task API: how many there may be, and how long one may take to ask something.

uvicorn limits requests that are under way (`limit_concurrency`) and the time between two, but not
connections that ask nothing: each costs a descriptor, and the worker may be in the same process.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from datetime import timedelta
from functools import partial
from typing import Any, cast, override

from uvicorn.protocols.http.h11_impl import H11Protocol

from athanore.api.problems import MEDIA_TYPE, Problem

logger = logging.getLogger("athanore.api")

MAX_CONNECTIONS = 400
"""Connections at a time; 200 of them may be readers of events."""

HEADERS_WITHIN = timedelta(seconds=5)
"""How long a connection has from its beginning, or from the first byte of a further request."""

MAX_HEADERS = 64 * 1024
"""Bytes of a request's line and headers together."""

_SAID_EVERY = 60.0


class Refusals:
    """Tells now and then that a server refuses connections."""

    def __init__(self) -> None:
        self._said_at: float | None = None

    def tell(self, now: float) -> None:
        """Say so, unless it was said a moment ago; `now` in seconds of the event loop's clock."""
        if self._said_at is not None and now - self._said_at < _SAID_EVERY:
            return
        self._said_at = now
        logger.warning(
            "The task API has %s connections, which is its limit; further ones are refused "
            "until some end.",
            MAX_CONNECTIONS,
            extra={"action": "connections_refused"},
        )


def bounded_protocol() -> type[asyncio.Protocol]:
    """The protocol of one server, for uvicorn's `http=`."""
    return cast(type[asyncio.Protocol], partial(BoundedProtocol, refusals=Refusals()))


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that refuses too many connections, and ends those that ask nothing."""

    _patience: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, refusals: Refusals, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusals = refusals

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= MAX_CONNECTIONS:
            self.transport = transport
            self._refuse()
            return
        _send_at_once(transport)
        super().connection_made(transport)
        self._hurry()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_asking:
            self._hurry()
        else:
            self._calm()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    @override
    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other error is answered."""
        self.transport.write(
            _raw(
                Problem(
                    400,
                    "no-http",
                    f"{msg} The line and the headers of a request may have "
                    f"{MAX_HEADERS // 1024} KiB together.",
                )
            )
        )
        self.transport.close()

    @property
    def _is_asking(self) -> bool:
        """True while the headers of the next request are not there."""
        # None before the first request, whatever its type says.
        return bool(getattr(self.cycle, "response_complete", True))

    def _hurry(self) -> None:
        if self._patience is None:
            within = HEADERS_WITHIN.total_seconds()
            self._patience = self.loop.call_later(within, self.transport.abort)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self) -> None:
        self._refusals.tell(self.loop.time())
        problem = Problem(
            503,
            "too-many-connections",
            f"The task API has {MAX_CONNECTIONS} connections, its limit; try again soon.",
            headers={"Retry-After": "5"},
        )
        self.transport.write(_raw(problem))
        self.transport.close()


def _send_at_once(transport: asyncio.Transport) -> None:
    """Have each write sent, although the one before was not acknowledged yet.

    Head and body of an answer are two writes: without this the second waits for the client's
    delayed acknowledgement, 40 ms. asyncio sees to it only for sockets that name their protocol.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _raw(problem: Problem) -> bytes:
    """A problem as it goes over the wire, where there is no request to answer."""
    body = bytes(problem.response().body)
    head = (
        f"HTTP/1.1 {problem.status} {problem.kind}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
    return f"{head}\r\n".encode() + body
