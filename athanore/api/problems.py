"""Errors as problem details (RFC 9457): one shape, and each says what to do instead."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Route

from athanore import errors

logger = logging.getLogger("athanore.api")

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:athanore:problem:"
_SHOWN_IDS = 50


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="Where it stands: `body.name`, `query.queue`.")
    message: str = Field(description="What is wrong with it.")


class ProblemDetails(BaseModel):
    """An error, for programs and for agents that read it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A stable name of the kind of error, as a URN.")
    title: str = Field(description="The kind of error in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong with this request, and what to send instead.")
    errors: list[FieldError] | None = Field(
        default=None, description="Which fields are wrong (422)."
    )
    existing: list[str] | None = Field(
        default=None, description="The names or ids that exist (404)."
    )
    task_count: int | None = Field(default=None, description="How many tasks are in the way (409).")


class Problem(Exception):
    """An answer that is an error.

    Args:
        kind: the stable name, as in `task-not-found`.
        extra: further members of the problem document.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def document(self) -> dict[str, Any]:
        """The problem as RFC 9457 writes it."""
        return {
            "type": _TYPE + self.kind,
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }

    def response(self) -> JSONResponse:
        """The problem as an answer."""
        return JSONResponse(
            self.document(), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


_STATUS: Sequence[tuple[type[errors.AthanoreError], int, str]] = (
    # The first that fits counts: subclasses stand before their bases.
    (errors.TaskNotFoundError, 404, "task-not-found"),
    (errors.QueueNotFoundError, 404, "queue-not-found"),
    (errors.RouteNotFoundError, 404, "route-not-found"),
    (errors.WorkerNotFoundError, 404, "worker-not-found"),
    (errors.QuestionNotFoundError, 404, "question-not-found"),
    (errors.NotFoundError, 404, "not-found"),
    (errors.QueueExistsError, 409, "queue-exists"),
    (errors.QueueNotEmptyError, 409, "queue-not-empty"),
    (errors.TaskMovedError, 409, "task-moved"),
    (errors.InvalidTaskError, 422, "invalid-value"),
    (errors.NotSupportedError, 501, "not-supported"),
    (errors.WebhookRefusedError, 401, "signature-wrong"),
    (errors.BoardBrokenError, 503, "board-broken"),
    (errors.BoardUnavailableError, 503, "board-unavailable"),
    (errors.BoardAccessError, 503, "board-access"),
    # Not 503: that promises that nothing was changed, and curl would repeat it.
    (errors.AnswerLostError, 409, "answer-lost"),
    (errors.BoardError, 503, "board-error"),
    (errors.TaskBusyError, 409, "task-busy"),
    (errors.AmbiguousRouteError, 409, "ambiguous-route"),
    (errors.QuestionClosedError, 409, "question-closed"),
    (errors.InvalidAnswerError, 422, "invalid-answer"),
    (errors.DispatchError, 409, "cannot-dispatch"),
    (errors.PrefectUnavailableError, 503, "prefect-unavailable"),
    (errors.RouteConflictError, 409, "route-conflict"),
    (errors.RouteError, 422, "invalid-route"),
    (errors.AthanoreError, 500, "internal-error"),
)


_WHEN = {
    401: "A token is needed, or the one that was sent is not known.",
    403: "The caller may not do this; the detail says why.",
    404: "There is nothing of that name; `existing` says what there is.",
    409: "Not now: the state of the task, the run, the queue or the route stands against it. "
    "Or (`answer-lost`) the board's answer was lost and it may have been done: look first.",
    413: "The body is over 1 MiB.",
    415: "The body is not declared as JSON.",
    422: "Something in the request is wrong; `errors` says which field.",
    501: "The board has no such call; its own settings have it.",
    503: "The board or Prefect does not answer; nothing was changed. Try again later.",
}


def when(status: int) -> str:
    """Say in a sentence when an error status is answered."""
    return _WHEN[status]


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of an endpoint in the OpenAPI document."""
    return {s: {"description": _WHEN[s]} for s in statuses}


def problem_of(error: errors.AthanoreError) -> Problem:
    """Say what an error of ours means over HTTP."""
    status, kind = next((s, k) for cls, s, k in _STATUS if isinstance(error, cls))
    extra: dict[str, Any] = {}
    if isinstance(
        error, errors.QueueNotFoundError | errors.RouteNotFoundError | errors.WorkerNotFoundError
    ):
        extra["existing"] = error.existing
    if isinstance(error, errors.TaskNotFoundError):
        extra["existing"] = list(error.existing)[:_SHOWN_IDS]
    if isinstance(error, errors.AmbiguousRouteError):
        extra["existing"] = error.names
    if isinstance(error, errors.QueueNotEmptyError):
        extra["task_count"] = error.task_count
    headers = {"Retry-After": _retry_after(error)} if status == 503 else None
    return Problem(status, kind, str(error), headers=headers, **extra)


def _retry_after(error: errors.AthanoreError) -> str:
    """In whole seconds, when to ask again: as the board has said, or soon."""
    wait = error.retry_after if isinstance(error, errors.BoardUnavailableError) else None
    return "5" if wait is None else str(max(1, ceil(wait.total_seconds())))


def install(api: FastAPI) -> None:
    """Have every error of the API answered as a problem."""

    async def ours(_: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, errors.AthanoreError)
        return problem_of(exc).response()

    async def problem(_: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, Problem)
        return exc.response()

    async def invalid(_: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, RequestValidationError)
        return _invalid(exc).response()

    async def http(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        return _http(request, exc).response()

    async def unexpected(_: Request, exc: Exception) -> JSONResponse:
        return Problem(
            500, "internal-error", "The API failed; its log says why. Try again, or tell a person."
        ).response()

    api.add_exception_handler(errors.AthanoreError, ours)
    api.add_exception_handler(Problem, problem)
    api.add_exception_handler(RequestValidationError, invalid)
    api.add_exception_handler(HTTPException, http)
    api.add_exception_handler(Exception, unexpected)


def _invalid(exc: RequestValidationError) -> Problem:
    found: list[dict[str, str]] = []
    for error in exc.errors():
        if error["type"] == "json_invalid":
            why = str(error.get("ctx", {}).get("error", error["msg"]))
            return Problem(
                422,
                "invalid-json",
                f"The body is no valid JSON: {why}.",
                errors=[{"field": "body", "message": why}],
            )
        field = ".".join(str(part) for part in error["loc"])
        found.append({"field": field, "message": str(error["msg"]).removeprefix("Value error, ")})
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in found)
    return Problem(422, "invalid-request", f"{detail}. See /docs for what to send.", errors=found)


def _http(request: Request, exc: HTTPException) -> Problem:
    status, path = exc.status_code, request.scope["path"]
    if status == 400:
        # FastAPI's answer to a body that Python's JSON reader gives up on: broken UTF-8, say.
        return Problem(
            422,
            "invalid-json",
            "The body is no valid JSON.",
            errors=[{"field": "body", "message": "no valid JSON"}],
        )
    if status == 404:
        return Problem(
            404,
            "no-such-endpoint",
            f"There is no endpoint {path}. GET / explains the calls, /docs lists all of them. "
            "Percent-encode names in paths (a slash is %2F).",
        )
    if status == 405:
        allowed = ", ".join(_methods(request))
        return Problem(
            405,
            "method-not-allowed",
            f"{request.method} does not work on {path}; use {allowed}.",
            headers={"Allow": allowed},
        )
    kind = HTTPStatus(status).phrase.lower().replace(" ", "-")
    return Problem(status, kind, str(exc.detail), headers=exc.headers)


def _methods(request: Request) -> list[str]:
    """Every method that works on the path of a request."""
    path = request.scope["path"]
    return sorted(
        {
            method
            for route in request.app.state.endpoints
            if isinstance(route, Route) and route.path_regex.match(path)
            for method in route.methods or ()
        }
    )
