"""A double of a REST API: each request is admitted, answered by a handler, looked at, and noted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from athanore.testing.doubles.wire import Wire, broken

type Row = dict[str, Any]
type Answer = tuple[object, int, dict[str, str]]
"""What is answered: the content, the status, and headers."""


class RefusalError(Exception):
    """An answer that is no success; a body that is a text is sent as one."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; `path` is as in the API's description."""

    method: str
    path: str
    query: Mapping[str, str]
    body: object
    status: int
    answer: object


type Check = Callable[[Exchange], None]
"""Looks at one exchange, and raises if something about it is wrong."""


@dataclass
class Call[S, A]:
    """One request to a state, by an account that it knows."""

    state: S
    account: A
    request: Request
    body: object

    @property
    def fields(self) -> Row:
        """The body, if it is an object."""
        body = self.body
        return cast("Row", body) if isinstance(body, dict) else {}

    def arg(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str, default: str) -> str:
        """A parameter of the query."""
        return self.request.query_params.get(name, default)


@dataclass
class Rest[S, A]:
    """What makes one API out of handlers.

    Attributes:
        prefix: what all paths are below.
        endpoints: the handlers by method and path; the first path that fits answers.
        admit: whose request it is; raises `RefusalError` for a bad token, or a limit.
        finish: puts headers on an answer that the client gets.
        check: looks at each exchange.
    """

    state: S
    prefix: str
    endpoints: Mapping[tuple[str, str], Callable[[Call[S, A]], Answer]]
    admit: Callable[[Request], A]
    finish: Callable[[Response], Response]
    check: Check | None = None

    def app(self, wire: Wire[Any]) -> FastAPI:
        """The API as an application."""
        app = FastAPI()
        for (method, path), handler in self.endpoints.items():
            endpoint = self._endpoint(wire, path.replace(":path}", "}"), handler)
            app.add_api_route(self.prefix + path, endpoint, methods=[method])
        return app

    def _endpoint(
        self, wire: Wire[Any], path: str, handler: Callable[[Call[S, A]], Answer]
    ) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            content = await request.body()
            with wire.lock:
                body = json.loads(content) if content else None
                return self._answer(wire, path, handler, request, body)

        return endpoint

    def _answer(
        self,
        wire: Wire[Any],
        path: str,
        handler: Callable[[Call[S, A]], Answer],
        request: Request,
        body: object,
    ) -> Response:
        asked = f"{request.method} {request.url.path.removeprefix(self.prefix)}"
        wire.log.append(asked)
        wire.interfere(asked)
        fault = wire.take(request.method, asked.partition(" ")[2])
        if fault is not None and isinstance(fault.kind, int):
            return self.finish(JSONResponse({"message": "Server Error"}, fault.kind))
        try:
            answer, status, headers = handler(Call(self.state, self.admit(request), request, body))
        except RefusalError as exc:
            answer, status, headers = exc.body, exc.status, exc.headers
        exchange = Exchange(request.method, path, dict(request.query_params), body, status, answer)
        if self.check is not None:
            try:
                self.check(exchange)
            except Exception as exc:  # whatever the check finds: the test is to see it
                wire.violations.append(f"{request.method} {path}: {exc}")
        if fault is not None:
            return broken(fault)
        if status == 204:
            return self.finish(Response(status_code=204, headers=headers))
        if isinstance(answer, str):
            return self.finish(PlainTextResponse(answer, status, headers=headers))
        wire.counted += 1
        return self.finish(JSONResponse(answer, status, headers=headers))
