"""Texts on their way to GitLab, which mention and command nothing, and back as they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from athanore.queue_adapters.tracker.texts import MENTIONS, SPACE, Breaking, Texts, up_to_last

# Only a fence of back-quotes that is closed: in all else GitLab looks for commands.
_FENCED = re.compile(r"^```.+?\n```[ \t]*$", re.DOTALL | re.MULTILINE)
_FENCE_END = re.compile(r"\n```[ \t]*$", re.MULTILINE)


def _fenced(text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in _FENCED.finditer(up_to_last(_FENCE_END, text)[0]))


_QUICK_ACTIONS = Breaking(
    re.compile(r"^([ \t]*)(?=/[A-Za-z_])", re.MULTILINE),
    re.compile(rf"^([ \t]*){SPACE}(?=/[A-Za-z_])", re.MULTILINE),
    spared=_fenced,
)
"""A line that begins with a slash may be a command: `/close`, `/assign @ada`."""

TEXTS: Final = Texts(
    longest_title=255, longest_text=1_000_000, breakings=(MENTIONS, _QUICK_ACTIONS)
)
