"""Texts of people and agents, made fit for where they go: a database, a command line."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """The text with U+0000 and lone surrogates replaced by U+FFFD."""
    # PostgreSQL, under Prefect and Planka, takes neither.
    return text if is_storable(text) else _UNSTORABLE.sub(_REPLACEMENT, text)


def is_storable(text: str) -> bool:
    """Tell whether a text has neither U+0000 nor a lone surrogate."""
    return ("\x00" not in text) if text.isascii() else _UNSTORABLE.search(text) is None


def operand(text: str) -> str:
    """The text as an argument that no program takes for an option.

    A newline is put before a dash at its beginning, because it may be the text of a card.
    """
    return f"\n{text}" if text.startswith("-") else text
