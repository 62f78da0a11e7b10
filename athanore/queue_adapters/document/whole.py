"""A whole board that comes from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from athanore.errors import ConfigurationError
from athanore.queue_adapters.document.document import Document, ShapeError

_SHOWN = 5


def readable(board: Mapping[str, Any]) -> Document:
    """Read a board of which every task can be read: nothing of it may be lost.

    Raises:
        ConfigurationError: it is no board, or some of its tasks cannot be read.
    """
    try:
        document = Document.parse(dict(board))
    except ShapeError as exc:
        raise ConfigurationError(f"That is no board: {exc}; nothing was imported.") from exc
    if problems := document.problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ConfigurationError(
            f"Some tasks cannot be read, and nothing was imported: {'; '.join(problems[:_SHOWN])}"
            f"{more}; mend them there first."
        )
    return document
