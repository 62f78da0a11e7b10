"""A note beside a board's file of who watches its queues."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from pydantic import TypeAdapter, ValidationError


class _Entry(TypedDict):
    place: str
    until: float


_NOTE = TypeAdapter(dict[str, dict[str, _Entry]])
"""By queue and watcher."""


def note(
    file: Path, queue_name: str, watcher: str, place: str, valid_for: timedelta
) -> Sequence[str]:
    """Add a watcher to the note, and return the places of the queue's others.

    The caller holds the board's lock. A note that cannot be read is begun anew, and what is out of
    date goes.

    Raises:
        OSError: the note cannot be written.
    """
    now = time.time()
    queues = {
        queue: current
        for queue, watchers in _read(file).items()
        if (current := {w: e for w, e in watchers.items() if e["until"] > now})
    }
    watchers = queues.setdefault(queue_name, {})
    watchers[watcher] = {"place": place, "until": now + valid_for.total_seconds()}
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(queues, ensure_ascii=False, indent=2))
    os.replace(new, file)
    return [entry["place"] for other, entry in watchers.items() if other != watcher]


def _read(file: Path) -> dict[str, dict[str, _Entry]]:
    with suppress(OSError, ValidationError):
        return _NOTE.validate_json(file.read_bytes())
    return {}
