"""Texts on their way to GitHub, and back as they were.

To GitHub: a text is cut to what GitHub takes, and what would mean something there besides what it
says is defused: agents' texts shall notify nobody and close no issue. A comment gets a mark, by
which it is found again if GitHub's answer is lost. Back: the marks and the defusing go out.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import uuid4

from athanore.texts import cut, storable

LONGEST_TITLE: Final = 256
LONGEST_TEXT: Final = 65_536
"""Characters that GitHub takes in the body of an issue or of a comment."""

_REMARK: Final = 40
"""Characters that the remark of a cut may take."""

_SPACE: Final = "\u200b"
"""A space without width. GitHub sees no mention behind it, and no closing word before it."""

_CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`)", re.DOTALL)
_MENTION = re.compile(r"(?<![\w@/.])@(?=[A-Za-z0-9])")
_CLOSING = re.compile(
    r"\b(clos(?:e[sd]?)|fix(?:e[sd])?|resolve[sd]?)(?=:?\s+(?:[\w.-]+/[\w.-]+)?#\d|:?\s+https?://)",
    re.IGNORECASE,
)
_MARK = re.compile(r"\n{0,2}<!-- athanore:([0-9a-f]{32}) -->\s*\Z")


def title(text: str) -> str:
    """A name as the title of an issue: on one line, and cut."""
    line = re.sub(r"\s*[\r\n]+\s*", " ", storable(text)).strip()
    return line if len(line) <= LONGEST_TITLE else cut(line, LONGEST_TITLE - _REMARK)


def new_mark() -> str:
    """A mark that no other text has."""
    return uuid4().hex


def body(text: str, mark: str | None = None) -> str:
    """A text as the body of an issue or a comment, with a mark at its end if there is one."""
    end = f"\n\n<!-- athanore:{mark} -->" if mark else ""
    harmless = _defused(storable(text))
    room = LONGEST_TEXT - len(end)
    return (harmless if len(harmless) <= room else cut(harmless, room - _REMARK)) + end


def read(text: str | None) -> tuple[str, str | None]:
    """The body of an issue or a comment as it was before `body`, and its mark."""
    plain = (text or "").replace("\r\n", "\n")
    found = _MARK.search(plain)
    if found is not None:
        plain = plain[: found.start()]
    plain = plain.replace(f"@{_SPACE}", "@")
    return _DEFUSED.sub(r"\1", plain), found[1] if found else None


_DEFUSED = re.compile(rf"\b(clos(?:e[sd]?)|fix(?:e[sd])?|resolve[sd]?){_SPACE}", re.IGNORECASE)


def _defused(text: str) -> str:
    """The text with mentions and closing words broken, but not in code, where they mean nothing."""
    parts = _CODE.split(text)
    parts[::2] = [
        _CLOSING.sub(rf"\1{_SPACE}", _MENTION.sub(f"@{_SPACE}", part)) for part in parts[::2]
    ]
    return "".join(parts)
