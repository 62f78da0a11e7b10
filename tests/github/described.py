"""GitHub's own description of its API: our requests and the double's answers are held to it.

`openapi.json` is a part of the npm package @octokit/openapi (MIT). Official examples are no proof,
some do not fit it: the schemas are what counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

type Json = dict[str, Any]

_FILE = Path(__file__).with_name("openapi.json")
_BASE = "urn:github"
_UNDESCRIBED = frozenset({301, 401, 403, 404, 410, 422})
"""Refusals that any operation may answer, whether its description lists them or not."""


class Description:
    """Checks exchanges against the description; `check` is what the double takes."""

    def __init__(self) -> None:
        self._document = cast("Json", _plain(json.loads(_FILE.read_text())))
        resource = DRAFT202012.create_resource(self._document)
        self._registry: Registry[Any] = Registry[Any]().with_resource(_BASE, resource)

    def check(self, method: str, path: str, body: object, status: int, answer: object) -> None:
        """Raise if a request's body, or an answer, is not as GitHub describes it."""
        operation: Json = self._document["paths"][path][method.lower()]
        if body is not None:
            content: Json = operation["requestBody"]["content"]
            self._validate(content["application/json"]["schema"], body)
        if status in (204, 302, 304):
            return
        described: Json = operation["responses"].get(str(status), {})
        if "$ref" in described:
            described = self._document["components"]["responses"][described["$ref"].split("/")[-1]]
        assert described or status in _UNDESCRIBED, f"{method} {path} never answers {status}"
        if "content" in described:
            self._validate(described["content"]["application/json"]["schema"], answer)

    def _validate(self, schema: Json, value: Any) -> None:
        validator = Draft202012Validator(schema, registry=self._registry)
        for error in validator.iter_errors(value):  # pyright: ignore[reportUnknownMemberType]
            raise error


def _plain(schema: object) -> object:
    """A schema of OpenAPI 3.0 as JSON Schema, which knows no `nullable`."""
    if isinstance(schema, list):
        return [_plain(part) for part in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    row = {name: _plain(part) for name, part in cast("Json", schema).items()}
    if isinstance(reference := row.get("$ref"), str):
        row["$ref"] = _BASE + reference
    if row.pop("nullable", False) is True:
        return {"anyOf": [row, {"type": "null"}]}
    return row
