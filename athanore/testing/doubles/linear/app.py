"""The double's one endpoint, its limits and faults, as a FastAPI app."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from athanore.testing.doubles import wire
from athanore.testing.doubles.graphql import Schema
from athanore.testing.doubles.linear.fields import resolvers
from athanore.testing.doubles.linear.state import State
from athanore.testing.doubles.wire import broken

SCHEMA: Final = Path(__file__).with_name("schema.graphql")
REQUESTS: Final = 2500
COMPLEXITY: Final = 3_000_000

type Limit = Literal["requests", "complexity"]


@dataclass(kw_only=True)
class Wire(wire.Wire[Limit]):
    """What happens between the client and the tables; the log has names of operations."""

    state: State
    remaining: int = REQUESTS

    def clear(self) -> None:
        """Forget the requests, and let all that come pass."""
        super().clear()
        self.remaining = REQUESTS


def make_app(wire: Wire) -> FastAPI:
    """The API on these tables."""
    app = FastAPI()
    schema = Schema(SCHEMA, resolvers(wire.state))

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        with wire.lock:
            return _finish(wire, _answer(wire, schema, request, json.loads(body)))

    app.add_api_route("/graphql", endpoint, methods=["POST"])
    return app


def _answer(wire: Wire, schema: Schema, request: Request, body: dict[str, Any]) -> Response:
    document = str(body["query"])
    named = re.search(r"\b(query|mutation)\s+(\w+)", document)
    name = named[2] if named else "?"
    wire.log.append(name)
    wire.interfere(name)
    fault = wire.take("POST", name)
    if fault is not None and isinstance(fault.kind, int):
        return JSONResponse({"errors": [{"message": "Server Error"}]}, fault.kind)
    if wire.limit is not None and wire.limited_until > monotonic():
        return _refused(400, "Rate limit exceeded", "RATELIMITED", "ratelimited")
    token = request.headers.get("authorization", "")
    account = wire.state.accounts.get(token.removeprefix("Bearer "))
    if account is None or token.startswith("Bearer lin_api_"):
        said = "Authentication required, not authenticated"
        return _refused(401, said, "AUTHENTICATION_ERROR", "authentication error")
    if wrong := schema.invalid(document):
        wire.violations.append(f"{name}: {wrong}")
        return _refused(400, wrong[0], "GRAPHQL_VALIDATION_FAILED", "graphql error")
    wire.state.me = account.name
    data, errors, mistakes = schema.execute(document, body.get("variables") or {})
    wire.violations += [f"{name}: {mistake}" for mistake in mistakes]
    if fault is not None:
        return broken(fault)
    return JSONResponse({"data": None, "errors": errors} if errors else {"data": data})


def _refused(status: int, message: str, code: str, kind: str) -> Response:
    extensions = {"code": code, "type": kind, "statusCode": status, "userError": True}
    return JSONResponse({"errors": [{"message": message, "extensions": extensions}]}, status)


def _finish(wire: Wire, response: Response) -> Response:
    """Count a request, and say what is left, as Linear does."""
    wire.counted += 1
    wire.remaining = max(wire.remaining - 1, 0)
    now = wire.state.now()
    left = wire.limited_until - monotonic()
    for kind, most in (("requests", REQUESTS), ("complexity", COMPLEXITY)):
        used_up = wire.limit == kind and left > 0
        there = wire.remaining if kind == "requests" else most - 12 * wire.counted
        reset = now.timestamp() + (left if used_up else 3600)
        response.headers[f"x-ratelimit-{kind}-limit"] = str(most)
        response.headers[f"x-ratelimit-{kind}-remaining"] = "0" if used_up else str(there)
        response.headers[f"x-ratelimit-{kind}-reset"] = str(math.ceil(reset * 1000))
    response.headers["x-complexity"] = "12"
    response.headers["date"] = format_datetime(now, usegmt=True)
    return response
