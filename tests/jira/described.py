"""Jira's own description of its API: our requests and the double's answers are held to it.

`openapi.json` is a part of Atlassian's description of version 3 (Apache 2.0). We speak version 2,
which is the same but for texts: these are strings there, and documents here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from athanore.testing.doubles.rest import Exchange

type Json = dict[str, Any]

_FILE = Path(__file__).with_name("openapi.json")
_BASE = "urn:jira"


class Description:
    """Checks exchanges against the description; `check` is what the double takes."""

    def __init__(self) -> None:
        self._document = cast("Json", _plain(json.loads(_FILE.read_text(encoding="utf-8"))))
        resource = DRAFT202012.create_resource(self._document)
        self._registry: Registry[Any] = Registry[Any]().with_resource(_BASE, resource)

    def check(self, exchange: Exchange) -> None:
        """Raise if a request, or an answer, is not as Jira describes it."""
        operation = self._document["operations"].get(f"{exchange.method} {exchange.path}")
        if operation is None:
            return
        unknown = set(exchange.query) - set(operation["query"])
        assert not unknown, f"unknown parameters {unknown}"
        if exchange.body is not None and "body" in operation:
            self._validate(operation["body"], exchange.body)
        answers: Json = operation["answers"]
        if exchange.status < 400:
            assert str(exchange.status) in answers, f"never answers {exchange.status}"
        if schema := answers.get(str(exchange.status)):
            self._validate(schema, exchange.answer)

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
