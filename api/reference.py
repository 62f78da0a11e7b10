"""Writes docs/api-reference.md from api/openapi.json, for the documentation site.

python api/reference.py [FILE]
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE.parent / "docs" / "api-reference.md"

type Schema = dict[str, Any]


def reference(document: Schema) -> str:
    """Render an OpenAPI document as Markdown: every call, then every shape."""
    lines = [
        "# API reference",
        "",
        "Every call of the [task API](api.md); this page is made from `api/openapi.json`.",
        "",
    ]
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            lines += [f"## `{method.upper()} {path}`", "", _text(call), "", *_call(call)]
    lines += ["# Shapes", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"### {name}", ""]
        if about := schema.get("description"):
            lines += [about, ""]
        lines += _fields(schema)
    return "\n".join(lines).rstrip() + "\n"


def _call(call: Schema) -> Iterator[str]:
    if parameters := call.get("parameters"):
        yield from ("| parameter | in | type | |", "| --- | --- | --- | --- |")
        for p in parameters:
            about = _cell(p.get("description", "")) + (" Required." if p.get("required") else "")
            yield f"| `{p['name']}` | {p['in']} | {_type(p['schema'])} | {about.strip()} |"
        yield ""
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        yield f"Body (`{kind}`): {_type(content['schema'])}"
        yield ""
    yield from ("| answer | shape | when |", "| --- | --- | --- |")
    for status, answer in call["responses"].items():
        shapes = [_type(c.get("schema", {})) for c in answer.get("content", {}).values()]
        yield f"| {status} | {', '.join(shapes)} | {_cell(answer['description'])} |"
    yield ""


def _fields(schema: Schema) -> Iterator[str]:
    if "enum" in schema:
        yield from (_type(schema), "")
    if not (properties := schema.get("properties")):
        return
    yield from ("| field | type | |", "| --- | --- | --- |")
    for name, field in properties.items():
        required = " Required." if name in schema.get("required", ()) else ""
        about = (_cell(field.get("description", "")) + required).strip()
        yield f"| `{name}` | {_type(field)} | {about} |"
    yield ""


def _type(schema: Schema) -> str:
    if ref := schema.get("$ref"):
        name = ref.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(o) for o in options)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{v}`" for v in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("type", "any")
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


def _text(call: Schema) -> str:
    return call.get("description") or call.get("summary", "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_text(reference(json.loads((HERE / "openapi.json").read_text())))
