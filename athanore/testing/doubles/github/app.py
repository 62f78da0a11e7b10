"""The double's endpoints, its limits, conditional requests and faults, as one FastAPI app."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from athanore.testing.doubles import wire
from athanore.testing.doubles.github.apps import AppTables
from athanore.testing.doubles.github.endpoints import ENDPOINTS, Call, Handler
from athanore.testing.doubles.github.issues_graphql import IssueTables
from athanore.testing.doubles.github.project import ProjectTables
from athanore.testing.doubles.github.pulls import Pulls
from athanore.testing.doubles.github.state import Account, RefusalError, Row, State
from athanore.testing.doubles.graphql import Schema
from athanore.testing.doubles.wire import broken

PREFIX: Final = "/api/v3"
SCHEMA: Final = Path(__file__).with_name("schema.graphql")
QUOTA: Final = 5000

type Limit = Literal["primary", "secondary", "silent"]
type Check = Callable[[str, str, object, int, object], None]
"""Looks at one exchange: method, path as in the API's description, body, status, answer."""


@dataclass(kw_only=True)
class Wire(wire.Wire[Limit]):
    """What happens between the client and the tables; `check` looks at each exchange.

    Attributes:
        others: further repositories, by `owner/name` in small letters.
        their_pulls: the pull requests of these.
        project: over the issues of the repositories; None if there is none.
        app: a GitHub App that is installed on the repositories.
    """

    state: State
    pulls: Pulls
    others: dict[str, State] = field(default_factory=dict[str, State])
    their_pulls: dict[str, Pulls] = field(default_factory=dict[str, Pulls])
    project: ProjectTables | None = None
    app: AppTables = field(default_factory=AppTables)
    check: Check | None = None
    remaining: int = QUOTA

    def clear(self) -> None:
        """Forget the requests, and let all that come pass."""
        super().clear()
        self.remaining = QUOTA

    def state_of(self, request: Request) -> State:
        """The repository of a request."""
        return self.others.get(_named(request), self.state)

    def pulls_of(self, request: Request) -> Pulls:
        """The pull requests of the repository of a request."""
        return self.their_pulls.get(_named(request), self.pulls)


def _named(request: Request) -> str:
    return f"{request.path_params.get('owner')}/{request.path_params.get('repo')}".lower()


def make_app(wire: Wire) -> FastAPI:
    """The API on these tables, below the path that a GitHub Enterprise server has."""
    app = FastAPI()
    for (method, path), handler in ENDPOINTS.items():
        route = path.replace("{name}", "{name:path}")
        route = route.replace("{ref}", "{ref:path}")
        app.add_api_route(PREFIX + route, _endpoint(wire, path, handler), methods=[method])
    app.add_api_route("/api/graphql", _graphql_endpoint(wire), methods=["POST"])
    app.add_api_route("/logs/{job_id}", _log_of(wire), methods=["GET"])
    return app


def _log_of(wire: Wire) -> Callable[[int], Response]:
    """Where the log of a job is: at another server, which is given no token."""

    def endpoint(job_id: int) -> Response:
        with wire.lock:
            all_ = (wire.pulls, *wire.their_pulls.values())
            log = next(pulls.logs[job_id] for pulls in all_ if job_id in pulls.logs)
            return Response(log, media_type="text/plain")

    return endpoint


def _graphql_endpoint(wire: Wire) -> Callable[[Request], Any]:
    made: list[Schema] = []

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        with wire.lock:
            if not made:  # it takes a second, and most who have a double need no GraphQL
                made.append(_schema(wire))
            return _graphql_answer(wire, made[0], request, json.loads(body))

    return endpoint


def _schema(wire: Wire) -> Schema:
    """GitHub's schema, on these tables."""
    state = wire.state
    issues = IssueTables({f"{state.owner}/{state.repo}": state, **wire.others})
    more = wire.project.resolvers() if wire.project is not None else {}
    return Schema(SCHEMA, {**issues.resolvers(), **more})


def _graphql_answer(wire: Wire, schema: Schema, request: Request, body: Row) -> Response:
    """Execute a document, or refuse it; the log and faults have the name of its operation."""
    document = str(body["query"])
    named = re.search(r"\b(?:query|mutation)\s+(\w+)", document)
    name = named[1] if named else "?"
    wire.log.append(f"POST /graphql {name}")
    wire.interfere(f"POST /graphql {name}")
    fault = wire.take("POST", f"/graphql {name}")
    if fault is not None and isinstance(fault.kind, int):
        return JSONResponse({"message": "Server Error"}, fault.kind)
    if wire.limit == "primary" and wire.limited_until > monotonic():
        told = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}
        return _finish(wire, JSONResponse(told))
    try:
        _check_limit(wire)
    except RefusalError as exc:  # without a type, and as a success
        return _finish(wire, JSONResponse({"errors": [exc.body]}, headers=exc.headers))
    try:
        _account(wire, request)
    except RefusalError as exc:
        return JSONResponse(exc.body, exc.status)
    wrong = schema.invalid(document)
    if wrong:
        wire.violations.append(f"{name}: {wrong}")
        return JSONResponse({"errors": [{"message": wrong[0]}]})
    data, errors, mistakes = schema.execute(document, body.get("variables") or {})
    wire.violations += [f"{name}: {mistake}" for mistake in mistakes]
    if fault is not None:
        return broken(fault)
    answer = {"data": data, **({"errors": errors} if errors else {})}
    return _finish(wire, JSONResponse(answer), "graphql")


def _endpoint(wire: Wire, path: str, handler: Handler) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        with wire.lock:
            return _answer(wire, path, handler, request, json.loads(body) if body else None)

    return endpoint


def _answer(wire: Wire, path: str, handler: Handler, request: Request, body: object) -> Response:
    method, asked = request.method, request.url.path.removeprefix(PREFIX)
    wire.log.append(f"{method} {asked}")
    wire.interfere(f"{method} {asked}")
    fault = wire.take(method, asked)
    if fault is not None and isinstance(fault.kind, int):
        return _finish(wire, JSONResponse({"message": "Server Error"}, fault.kind))
    try:
        _check_limit(wire)
        pulls, account = wire.pulls_of(request), _account(wire, request)
        call = Call(wire.state_of(request), account, request, body, pulls, wire.app)
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
        return broken(fault)
    return _finish(wire, response)


def _told(
    wire: Wire, request: Request, result: object, status: int, more: dict[str, str]
) -> Response:
    """The answer; of a list that has not changed since the caller's last look, only that."""
    if status in (204, 302):
        return Response(status_code=status, headers=more)
    if request.method != "GET":
        return JSONResponse(result, status, headers=more)
    who = request.headers.get("authorization", "")
    digest = hashlib.sha256(f"{who} {json.dumps([result, more])}".encode()).hexdigest()
    etag = f'W/"{digest}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"ETag": etag})
    return JSONResponse(result, status, headers={**more, "ETag": etag})


def _finish(wire: Wire, response: Response, resource: str = "core") -> Response:
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
    response.headers["x-ratelimit-resource"] = resource
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


def _account(wire: Wire, request: Request) -> Account:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    now = wire.state.now()
    if scheme.lower() == "bearer" and request.url.path.endswith(
        ("/installation", "/access_tokens")
    ):
        wire.app.check(token, now)
        return Account("octo-agents", is_installation=True)
    known = wire.state.accounts.get(token) or wire.app.account(token, now)
    account = known if scheme.lower() == "bearer" else None
    if account is None:
        raise RefusalError(401, "Bad credentials")
    if not request.headers.get("user-agent"):
        raise RefusalError(403, "Request forbidden by administrative rules.")
    return account
