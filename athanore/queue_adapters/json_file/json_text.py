"""Reading and writing the text of a board's file, with errors that a person can act on."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import orjson

_LONGEST_FLOAT = 1000
BOM = b"\xef\xbb\xbf"


class TextError(ValueError):
    """The text is no JSON that can be kept whole; the message says where and why."""


def write_json(value: Any) -> bytes:
    """Render a value as a person would like to edit it: indented, and no character escaped."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_json(text: bytes) -> Any:
    """Parse a text.

    Raises:
        TextError: it is broken, or writing it back would lose something.
    """
    text = text.removeprefix(BOM)
    if not text.strip():
        raise TextError("the file is empty")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise TextError(_explain(text, exc)) from exc
    try:
        same = write_json(value) == text
    except orjson.JSONEncodeError as exc:
        raise TextError("it is nested too deeply") from exc
    if not same:  # a person edited it: look for what orjson drops without a word
        _check_lossless(text)
    return value


def _explain(text: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        decoded = text.decode()
    except UnicodeDecodeError as exc:
        return f"{_place(text, exc.start)}: the byte 0x{text[exc.start]:02x} is not valid UTF-8"
    if decoded[error.pos : error.pos + 1] == "\0":
        return f"line {error.lineno}, column {error.colno}: a NUL character"
    return f"line {error.lineno}, column {error.colno}: {error.msg}"


def _place(text: bytes, position: int) -> str:
    """The line and column (in characters) of a byte, both from 1."""
    before = text[:position].decode(errors="replace")
    return f"line {before.count('\n') + 1}, column {len(before) - before.rfind('\n')}"


def _check_lossless(text: bytes) -> None:
    """Refuse a name that stands twice in an object, and numbers that become other ones."""

    def check_names(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise TextError(f"{_last_place(text, name)}: {name!r} stands twice in one object")
            seen.add(name)

    def check_integer(digits: str) -> None:
        if not -(2**63) <= int(digits[:25]) < 2**64:
            place = _place(text, text.find(digits.encode()))
            raise TextError(f"{place}: the number {digits[:25]} is too large; write it as a text")

    def check_float(digits: str) -> None:
        # Written back is the shortest text of the float that is nearest.
        if len(digits) > _LONGEST_FLOAT or Decimal(digits) != Decimal(repr(float(digits))):
            place = _place(text, text.find(digits.encode()))
            says = f"the number {digits[:25]} is more exact than can be kept; write it as a text"
            raise TextError(f"{place}: {says}")

    try:
        json.loads(
            text, object_pairs_hook=check_names, parse_int=check_integer, parse_float=check_float
        )
    except RecursionError as exc:
        raise TextError("it is nested too deeply") from exc


def _last_place(text: bytes, name: str) -> str:
    matches = list(re.finditer(re.escape(orjson.dumps(name)) + rb"\s*:", text))
    return _place(text, matches[-1].start()) if matches else "somewhere"
