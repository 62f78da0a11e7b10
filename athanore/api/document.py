"""The OpenAPI document: what FastAPI finds out by itself, and every error beside it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from athanore.api.problems import MEDIA_TYPE, ProblemDetails, when

DESCRIPTION = """
What agents and operators talk to: the tasks of the board, its queues, the routes, and the agents
at work. `GET /` is a short guide for an agent.

- Names and ids in paths are percent-encoded: a slash is `%2F`.
- Bodies are JSON, declared by `Content-Type: application/json`, of at most 1 MiB.
- Errors are problem details (RFC 9457): `detail` says what was wrong and what to send instead.
- Where tokens are required, an agent sends the one of its run (`ATHANORE_TOKEN`), an operator the
  key (`ATHANORE_API_KEY`), both as `Authorization: Bearer ...`.
- Requests whose Host or Origin header is foreign are refused with 403.
"""

_READ_ERRORS = (401, 403, 422, 503)
_WRITE_ERRORS = (401, 403, 409, 413, 415, 422, 503)
_SCHEMA = {"$ref": "#/components/schemas/ProblemDetails"}


def describe(api: FastAPI) -> dict[str, Any]:
    """Make the document, once."""
    if api.openapi_schema is None:
        document = get_openapi(
            title=api.title,
            version=api.version,
            summary="Tasks, queues, routes and agents of an Athanore app.",
            description=DESCRIPTION,
            routes=api.routes,
        )
        for operations in document["paths"].values():
            for method, operation in operations.items():
                _complete(method, operation)
        schemas = document["components"]["schemas"]
        schemas["ProblemDetails"] = ProblemDetails.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        schemas.update(schemas["ProblemDetails"].pop("$defs", {}))
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        api.openapi_schema = document
    return api.openapi_schema


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Add the errors that any endpoint may answer, and give all errors their media type."""
    responses = operation["responses"]
    for status in _READ_ERRORS if method == "get" else _WRITE_ERRORS:
        if method != "delete" or status != 415:
            responses.setdefault(str(status), {})
    for status, response in responses.items():
        if int(status) >= 400:
            response["description"] = when(int(status))
            response["content"] = {MEDIA_TYPE: {"schema": _SCHEMA}}
    operation["responses"] = dict(sorted(responses.items()))
    if "security" in operation and {"webhook": []} not in operation["security"]:
        # Only where the API runs with api_auth="token" is one needed.
        operation["security"] = [*operation["security"], {}]
