"""Repeating what failed in passing, and never what could then be done twice."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

import httpx

NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors after which the server has seen nothing of a request."""

MAYBE_DONE: Final = frozenset({502, 504})
"""What a gateway answers that has passed the request on, and got no answer itself."""

_GATEWAY: Final = frozenset({502, 503, 504})
_UNCLEAR: Final = "athanore.unclear"
"""The extension of a request of which an earlier sending may have been done."""

READ: Final = "athanore.read"
"""The extension of a request that only reads, whatever its method is: a query of GraphQL."""


class RetryingTransport(httpx.BaseTransport):
    """Repeats requests that failed in passing.

    A request of which nothing was sent is repeated whatever it is; one whose method is among
    `repeatable` also after a lost answer or a gateway's error. What became of the first sending is
    not known then: the request is marked, see `may_be_done`.

    Args:
        wrapped: what sends the requests.
        delays: how long to wait before each repetition.
        repeatable: the methods that may be done twice: reads, and writes that set the same again.
    """

    def __init__(
        self,
        wrapped: httpx.BaseTransport,
        delays: Sequence[timedelta],
        repeatable: Collection[str] = ("GET",),
    ) -> None:
        self._wrapped = wrapped
        self._delays = delays
        self._repeatable = frozenset(repeatable)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for delay in self._delays:
            try:
                response = self._once(request)
            except NOT_SENT:
                pass
            except httpx.TransportError:
                if not self._may_repeat(request):
                    raise
                request.extensions[_UNCLEAR] = True
            else:
                if response.status_code not in _GATEWAY or not self._may_repeat(request):
                    return response
                if response.status_code in MAYBE_DONE:
                    request.extensions[_UNCLEAR] = True
            time.sleep(delay.total_seconds())
        return self._once(request)

    def _may_repeat(self, request: httpx.Request) -> bool:
        return reads(request) or request.method in self._repeatable

    def _once(self, request: httpx.Request) -> httpx.Response:
        response = self._wrapped.handle_request(request)
        response.read()  # here, so that a body that breaks off counts as a lost answer
        return response

    def close(self) -> None:
        self._wrapped.close()


def reads(request: httpx.Request) -> bool:
    """Tell whether a request changes nothing."""
    return request.method == "GET" or READ in request.extensions


def may_be_done(request: httpx.Request, last_is_unclear: bool) -> bool:
    """Tell whether a write that failed, in one of its sendings, may have been done."""
    return not reads(request) and (last_is_unclear or _UNCLEAR in request.extensions)
