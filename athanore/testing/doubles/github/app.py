"""The double's endpoints, its limits, conditional requests and faults, as one FastAPI app."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import format_datetime
from time import monotonic
from typing import Any, Final, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from athanore.testing.doubles.github.endpoints import ENDPOINTS, Call, Handler
from athanore.testing.doubles.github.state import Account, RefusalError, State

PREFIX: Final = "/api/v3"
QUOTA: Final = 5000

type Kind = Literal["lost", "cut", "page"] | int
type Limit = Literal["primary", "secondary", "silent"]
type Check = Callable[[str, str, object, int, object], None]
"""Looks at one exchange: method, path as in the API's description, body, status, answer."""


@dataclass
class Fault:
    """What to do to the next requests.

    A status: that error, and nothing is done. `lost`: it is done, and the answer is status 502.
    `cut`: it is done, and the connection breaks off. `page`: a proxy's page, with status 200.
    """

    method: str
    path: str
    kind: Kind
    times: int


@dataclass
class Wire:
    """What happens between the client and the tables.

    Attributes:
        log: the requests so far, as `METHOD /path`.
        counted: how many of them count towards the limit.
        before: what somebody else does right before a request, once; by `METHOD /path`.
        violations: what `check` has found.
    """

    state: State
    check: Check | None = None
    log: list[str] = field(default_factory=list[str])
    counted: int = 0
    faults: list[Fault] = field(default_factory=list[Fault])
    before: dict[str, Callable[[], None]] = field(default_factory=dict[str, Callable[[], None]])
    violations: list[str] = field(default_factory=list[str])
    lock: threading.Lock = field(default_factory=threading.Lock)
    limit: Limit | None = None
    limited_until: float = 0.0
    remaining: int = QUOTA

    def clear(self) -> None:
        """Forget the requests, and let all that come pass."""
        self.log.clear()
        self.faults.clear()
        self.before.clear()
        self.violations.clear()
        self.limit, self.remaining, self.counted = None, QUOTA, 0

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that a request is to meet, if any."""
        found = next((f for f in self.faults if f.method == method and f.path in path), None)
        if found is not None:
            found.times -= 1
            if found.times == 0:
                self.faults.remove(found)
        return found

    def refuse_for(self, kind: Limit, seconds: float) -> None:
        """Begin a rate limit."""
        self.limit, self.limited_until = kind, monotonic() + seconds


def make_app(wire: Wire) -> FastAPI:
    """The API on these tables, below the path that a GitHub Enterprise server has."""
    app = FastAPI()
    for (method, path), handler in ENDPOINTS.items():
        route = path.replace("{name}", "{name:path}")
        app.add_api_route(PREFIX + route, _endpoint(wire, path, handler), methods=[method])
    return app


def _endpoint(wire: Wire, path: str, handler: Handler) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        with wire.lock:
            return _answer(wire, path, handler, request, json.loads(body) if body else None)

    return endpoint


def _answer(wire: Wire, path: str, handler: Handler, request: Request, body: object) -> Response:
    method, asked = request.method, request.url.path.removeprefix(PREFIX)
    wire.log.append(f"{method} {asked}")
    wire.before.pop(f"{method} {asked}", _nothing)()
    fault = wire.take(method, asked)
    if fault is not None and isinstance(fault.kind, int):
        return _finish(wire, JSONResponse({"message": "Server Error"}, fault.kind))
    try:
        _check_limit(wire)
        call = Call(wire.state, _account(wire.state, request), request, body)
        result, status, more = handler(call)
        response = _told(wire, request, result, status, more)
    except RefusalError as exc:
        result, status = exc.body, exc.status
        response = JSONResponse(result, status, headers=exc.headers)
    if wire.check is not None:
        try:
            wire.check(method, path, body, response.status_code, result)
        except Exception as exc:  # whatever the check finds: the test is to see it
            wire.violations.append(f"{method} {path}: {exc}")
    if fault is not None:
        return _broken(fault)
    return _finish(wire, response)


def _told(
    wire: Wire, request: Request, result: object, status: int, more: dict[str, str]
) -> Response:
    """The answer; of a list that has not changed since the caller's last look, only that."""
    if status == 204:
        return Response(status_code=204)
    if request.method != "GET":
        return JSONResponse(result, status, headers=more)
    who = request.headers.get("authorization", "")
    digest = hashlib.sha256(f"{who} {json.dumps([result, more])}".encode()).hexdigest()
    etag = f'W/"{digest}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag})
    return JSONResponse(result, status, headers={**more, "ETag": etag})


def _finish(wire: Wire, response: Response) -> Response:
    """Count a request, and say what is left, as GitHub does; an unchanged list is free."""
    if response.status_code != 304:
        wire.counted += 1
        wire.remaining = max(wire.remaining - 1, 0)
    now = wire.state.now()
    left = wire.limited_until - monotonic()
    exhausted = wire.limit == "primary" and left > 0
    reset = now.timestamp() + (left if exhausted else 3600)
    response.headers["x-ratelimit-limit"] = str(QUOTA)
    response.headers["x-ratelimit-remaining"] = "0" if exhausted else str(wire.remaining)
    response.headers["x-ratelimit-reset"] = str(math.ceil(reset))
    response.headers["x-ratelimit-resource"] = "core"
    response.headers["date"] = format_datetime(now, usegmt=True)
    return response


def _check_limit(wire: Wire) -> None:
    left = wire.limited_until - monotonic()
    if wire.limit is None or left <= 0:
        return
    if wire.limit == "primary":
        raise RefusalError(403, "API rate limit exceeded for user ID 1.")
    said = (
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    )
    headers = {"retry-after": str(math.ceil(left))} if wire.limit == "secondary" else {}
    raise RefusalError(403, said, headers=headers)


def _account(state: State, request: Request) -> Account:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    account = state.accounts.get(token) if scheme.lower() == "bearer" else None
    if account is None:
        raise RefusalError(401, "Bad credentials")
    if not request.headers.get("user-agent"):
        raise RefusalError(403, "Request forbidden by administrative rules.")
    return account


def _nothing() -> None:
    """What somebody else does before a request, mostly."""


def _broken(fault: Fault) -> Response:
    if fault.kind == "lost":
        return JSONResponse({"message": "Server Error"}, 502)
    if fault.kind == "page":
        return Response("<html>a proxy's page</html>", media_type="text/html")
    # With less than was announced: the server then cuts the connection.
    return Response(b"", headers={"content-length": "1000"})
