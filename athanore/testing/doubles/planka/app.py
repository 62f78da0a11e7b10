"""The double as a small FastAPI app: its routes, who calls, and how it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from athanore.testing.doubles.planka.actions import Double, Handler
from athanore.testing.doubles.planka.state import Invalid, Refusal, Row, State


def make_app(state: State, version: str = "2.1.1") -> FastAPI:
    """A server on these tables; `version` is what its bootstrap says."""
    double = Double(state, version)
    app = FastAPI()
    for route, handler in double.routes().items():
        method, path = route.split(" ")
        app.add_api_route(f"/api{path}", _endpoint(state, handler), methods=[method])
    return app


def _endpoint(state: State, handler: Handler) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> JSONResponse:
        body: Row = await request.json() if await request.body() else {}
        if not all(map(_is_storable, body.values())):
            return JSONResponse({"code": "E_INTERNAL", "message": "Internal server error"}, 500)
        try:
            me = _user(state, request)
            for name, value in request.path_params.items():
                _check_id("id" if name.startswith("own") else name, value)
            query = {k: v for k, v in request.query_params.items() if k == "beforeId"}
            return JSONResponse(handler(me, body, *request.path_params.values(), **query))
        except Refusal as exc:
            return JSONResponse(exc.body, exc.status)
        except Invalid as exc:
            call = f"{request.method} {request.url.path}"
            return JSONResponse(
                {
                    "code": "E_MISSING_OR_INVALID_PARAMS",
                    "problems": [str(exc)],
                    "message": f"The server could not fulfill this request (`{call}`) "
                    "due to 1 missing or invalid parameter.",
                },
                400,
            )

    return endpoint


def _is_storable(value: object) -> bool:
    """Tell whether PostgreSQL can store a text: it has no U+0000 and no lone surrogate."""
    return not isinstance(value, str) or not re.search("[\x00\ud800-\udfff]", value)


def _check_id(name: str, value: str) -> None:
    if not re.fullmatch(r"[1-9][0-9]*", value):
        raise Invalid(
            f"Invalid \"{name}\":\n  · Value ('{value}') did not match the configured "
            "regular expression (/^[1-9][0-9]*$/)"
        )


def _user(state: State, request: Request) -> Row:
    if request.url.path in ("/api/access-tokens", "/api/bootstrap"):
        return {}
    session = request.headers.get("Authorization", "").removeprefix("Bearer ")
    key = request.headers.get("X-Api-Key", "")
    user_id = state.keys.get(key) or state.sessions.get(session)
    if user_id is None:
        raise Refusal(401, "E_UNAUTHORIZED", "Access token is missing, invalid or expired")
    return state.users[user_id]
