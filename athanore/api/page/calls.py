"""`GET /docs`: all calls as one page, made from the OpenAPI document, without any script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse

from athanore.api.page.page import Pages

_METHODS = ("get", "post", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a JSON object, or a parameter of a call; `kind` has links to other objects."""

    name: str
    kind: Kind
    is_required: bool
    description: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be, in words; `link` is the name of an object that is explained below."""

    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what it does, what it takes, what it answers."""

    method: str
    path: str
    description: str
    parameters: list[Field]
    body: Kind | None
    answers: list[tuple[str, str, Kind | None]]


def calls_page(api: FastAPI, pages: Pages) -> HTMLResponse:
    """The page; it holds nothing but what the API of every app is."""
    document = api.openapi()
    groups: dict[str, list[Call]] = {}
    for path, calls in document["paths"].items():
        for method in _METHODS:
            if method in calls:
                tag = (calls[method].get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append(_call(method, path, calls[method]))
    objects = {
        name: _fields(schema)
        for name, schema in document["components"]["schemas"].items()
        if "properties" in schema
    }
    about = document["info"]["description"].strip()
    return pages.render("docs.html", about=about, groups=groups, objects=objects)


def _call(method: str, path: str, operation: dict[str, Any]) -> Call:
    parameters = [
        Field(
            p["name"],
            _kind(p.get("schema", {})),
            bool(p.get("required")),
            p.get("description", ""),
            p["in"],
        )
        for p in operation.get("parameters", [])
    ]
    body = operation.get("requestBody")
    answers = [
        (status, answer.get("description", ""), _content(answer))
        for status, answer in operation["responses"].items()
    ]
    description = operation.get("description", "")
    return Call(method.upper(), path, description, parameters, body and _content(body), answers)


def _content(part: dict[str, Any]) -> Kind | None:
    """What a body or an answer holds; None where the document does not say."""
    for content in part.get("content", {}).values():
        return _kind(content.get("schema", {}))
    return None


def _fields(schema: dict[str, Any]) -> list[Field]:
    required = schema.get("required", [])
    return [
        Field(name, _kind(value), name in required, value.get("description", ""))
        for name, value in schema["properties"].items()
    ]


def _kind(schema: dict[str, Any]) -> Kind:
    """What a schema allows; of several objects the first is linked."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return Kind(name, name)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        kinds = [_kind(choice) for choice in choices]
        return Kind(" or ".join(k.text for k in kinds), next((k.link for k in kinds if k.link), ""))
    if "enum" in schema or "const" in schema:
        return Kind(" or ".join(map(repr, schema.get("enum", [schema.get("const")]))))
    if schema.get("type") == "array":
        inner = _kind(schema.get("items", {}))
        return Kind(f"list of {inner.text}", inner.link)
    shape = schema.get("format")
    return Kind(f"{schema.get('type', 'any value')}{f' ({shape})' if shape else ''}")
