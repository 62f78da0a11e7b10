"""Published descriptions of APIs, to which exchanges with a double are held."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from referencing import Registry

type Json = dict[str, Any]


def are_checked() -> bool:
    """Whether the packages are there that the check needs; the extra `testing` has them."""
    return all(find_spec(name) is not None for name in ("jsonschema", "referencing"))


class Schemas:
    """A description with its schemas.

    Args:
        path: the file.
        base: of an OpenAPI 3.0, a URN of its own; its schemas refer to each other below that.
    """

    def __init__(self, path: Path, base: str = "") -> None:
        from referencing import Registry
        from referencing.jsonschema import DRAFT202012

        read: object = json.loads(path.read_text(encoding="utf-8"))
        self.document = cast("Json", _plain(read, base) if base else read)
        self._registry: Registry[Any] = Registry[Any]()
        if base:
            resource = DRAFT202012.create_resource(self.document)
            self._registry = self._registry.with_resource(base, resource)

    def validate(self, schema: Json, value: Any) -> None:
        """Raise if a value does not fit a schema of the description."""
        from jsonschema import Draft202012Validator

        validator = Draft202012Validator(schema, registry=self._registry)
        for error in validator.iter_errors(value):  # pyright: ignore[reportUnknownMemberType]
            raise error


def _plain(schema: object, base: str) -> object:
    """A schema of OpenAPI 3.0 as JSON Schema, which knows no `nullable`."""
    if isinstance(schema, list):
        return [_plain(part, base) for part in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    row = {name: _plain(part, base) for name, part in cast("Json", schema).items()}
    if isinstance(reference := row.get("$ref"), str):
        row["$ref"] = base + reference
    if row.pop("nullable", False) is True:
        return {"anyOf": [row, {"type": "null"}]}
    return row
