"""What a tool is: a function of ours, and what a client is told of it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, override

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue


class Arguments(BaseModel):
    """What a tool takes. A field that is not known is an error; a number will do for a text."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@dataclass(frozen=True, slots=True)
class Tool[C]:
    """A function as clients see it: its name and its docstring are the tool's.

    Attributes:
        work: takes the caller, and the arguments as `arguments` has read them; what it returns is
            answered as JSON.
        given_to: who may see and call it.
        reads: it changes nothing.
        idempotent: doing it again changes nothing more.
        destructive: it takes something away, or stops it.
    """

    work: Callable[[C, Any], Awaitable[Any]]
    given_to: frozenset[str]
    arguments: type[Arguments] = Arguments
    reads: bool = False
    idempotent: bool = False
    destructive: bool = False

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.work.__name__

    @property
    def description(self) -> str:
        """What the model reads of it."""
        return inspect.getdoc(self.work) or ""

    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments, without what only tells people of our classes."""
        schema: dict[str, Any] = {"properties": {}}
        schema |= self.arguments.model_json_schema(schema_generator=_Slim)
        return {k: v for k, v in schema.items() if k not in ("title", "description")}


class _Slim(GenerateJsonSchema):
    """Schemas as short as they can be: a model pays for every word, in each of its requests."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    @override
    def str_schema(self, schema: Any) -> JsonSchemaValue:
        slim = super().str_schema(schema)
        return {key: value for key, value in slim.items() if key != "pattern"}

    @override
    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: Any) -> JsonSchemaValue:
        slim = super().default_schema(schema)
        return {key: value for key, value in slim.items() if (key, value) != ("default", None)}
