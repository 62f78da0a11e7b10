"""Texts on their way to GitHub, which mention nobody and close nothing, and back as they were."""

from __future__ import annotations

import re
from typing import Final

from athanore.queue_adapters.tracker.texts import MENTIONS, SPACE, Breaking, Texts

_WORDS: Final = r"\b(clos(?:e[sd]?)|fix(?:e[sd])?|resolve[sd]?)"
_CLOSING = re.compile(rf"{_WORDS}(?=:?\s+(?:[\w.-]+/[\w.-]+)?#\d|:?\s+https?://)", re.IGNORECASE)

TEXTS: Final = Texts(
    longest_title=256,
    longest_text=65_536,
    breakings=(MENTIONS, Breaking(_CLOSING, re.compile(f"{_WORDS}{SPACE}", re.IGNORECASE))),
)
"""GitHub sees no mention behind the space, and no closing word before it."""
