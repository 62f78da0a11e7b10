"""What an answer has to look like: choices, or a small JSON schema, and whether a text fits it.

An agent writes the schema, so only words are taken that are cheap to check: no patterns, and no
references.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from prefect.utilities.schema_tools.validation import ValidationError, is_valid_schema, validate

from athanore.errors import InvalidAnswerError
from athanore.runs.kept.questions import Question

_WORDS = frozenset(
    {
        "type",
        "title",
        "description",
        "enum",
        "const",
        "default",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
    }
)
_LONGEST_SCHEMA = 3000
_MOST_CHOICES = 20
_DEEPEST = 5
_TEMPLATE = "__prefect_kind"


def check(choices: Sequence[str], schema: Mapping[str, Any] | None) -> None:
    """Refuse what no answer could fit, or what we do not check.

    Raises:
        InvalidAnswerError: the message says what is wrong.
    """
    if choices and schema is not None:
        raise InvalidAnswerError("Send choices or a schema, not both.")
    if len(choices) > _MOST_CHOICES or len(set(choices)) < len(choices):
        raise InvalidAnswerError(f"There are up to {_MOST_CHOICES} choices, each of them once.")
    if schema is None:
        return
    if len(json.dumps(schema)) > _LONGEST_SCHEMA:
        raise InvalidAnswerError(f"A schema has at most {_LONGEST_SCHEMA} characters.")
    _check_words(schema, 0)
    try:
        is_valid_schema(cast(Any, dict(schema)), preprocess=False)
    except Exception as exc:
        raise InvalidAnswerError(f"The schema is no JSON schema: {exc}") from exc


def _check_words(schema: Mapping[str, Any], depth: int) -> None:
    if unknown := sorted(set(schema) - _WORDS):
        known = ", ".join(sorted(_WORDS))
        raise InvalidAnswerError(f"A schema may not have {unknown[0]!r} here; it may have {known}.")
    if depth > _DEEPEST:
        raise InvalidAnswerError(f"A schema is at most {_DEEPEST} levels deep.")
    inner: list[Any] = [schema.get("items"), schema.get("additionalProperties")]
    properties: Any = schema.get("properties")
    if isinstance(properties, dict):
        inner += cast(dict[str, Any], properties).values()
    for each in inner:
        if isinstance(each, dict):
            _check_words(cast(dict[str, Any], each), depth + 1)


def fitting(question: Question, said: Any) -> Any:
    """The answer as it counts.

    Raises:
        InvalidAnswerError: it is empty, none of the choices, or does not fit the schema.
    """
    if question.schema is not None:
        return _of_schema(question, said)
    if not isinstance(said, str) or not said:
        raise InvalidAnswerError("An answer is a text that says something.")
    if not question.choices:
        return said
    alike = [c for c in question.choices if c.casefold() == said.casefold()]
    if said not in question.choices and len(alike) != 1:
        there = ", ".join(repr(c) for c in question.choices)
        raise InvalidAnswerError(f"{said!r} is none of the choices: {there}.")
    return said if said in question.choices else alike[0]


def _of_schema(question: Question, said: Any) -> Any:
    wants = dict(question.schema or {})
    candidates = [said]
    if isinstance(said, str):
        with suppress(ValueError):
            candidates.insert(0, json.loads(said))
    error = ""
    for value in candidates:
        if _has_template(value):
            raise InvalidAnswerError(f"An answer has no key {_TEMPLATE!r}.")
        whole = {"type": "object", "properties": {"answer": wants}}
        try:
            validate({"answer": value}, cast(Any, whole), raise_on_error=True, preprocess=False)
        except ValidationError as exc:
            error = error or str(exc)
        else:
            return value
    raise InvalidAnswerError(f"The answer does not fit what is asked for. {error}")


def _has_template(value: Any) -> bool:
    """Tell whether Prefect would take something in a value for a template."""
    if isinstance(value, dict):
        inner = cast(dict[str, Any], value)
        return _TEMPLATE in inner or any(_has_template(each) for each in inner.values())
    return isinstance(value, list) and any(_has_template(v) for v in cast(list[Any], value))
