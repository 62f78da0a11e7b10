"""Texts that can be stored everywhere: PostgreSQL, under Prefect and Planka, takes not all."""

from __future__ import annotations

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """The text with U+0000 and lone surrogates replaced by U+FFFD."""
    return text if is_storable(text) else _UNSTORABLE.sub(_REPLACEMENT, text)


def is_storable(text: str) -> bool:
    """Tell whether a text has neither U+0000 nor a lone surrogate."""
    return ("\x00" not in text) if text.isascii() else _UNSTORABLE.search(text) is None
