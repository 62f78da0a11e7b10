"""The lines of a Markdown text that are a checklist."""

from __future__ import annotations

import re

from athanore.models import ChecklistItem

_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\[([ xX])\]\s+(.*\S)")
_FENCE = re.compile(r"\s*(```|~~~)")


def checklist(body: str) -> tuple[ChecklistItem, ...]:
    """The lines that are a task list: `- [ ] open` and `- [x] done`."""
    items: list[ChecklistItem] = []
    fence: str | None = None
    for line in body.split("\n"):
        if (found := _FENCE.match(line)) is not None:
            fence = found[1] if fence is None else None if fence == found[1] else fence
        elif fence is None and (item := _ITEM.fullmatch(line)) is not None:
            items.append(ChecklistItem(item[2], item[1] != " "))
    return tuple(items)
