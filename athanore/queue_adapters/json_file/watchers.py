"""A note beside a board's file of who watches its queues."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from pydantic import TypeAdapter, ValidationError

from athanore.queue_adapters.json_file.beside import read_note, write_note


class _Entry(TypedDict):
    place: str
    until: float


_NOTE = TypeAdapter(dict[str, dict[str, _Entry]])
"""By queue and watcher."""


def note(
    file: Path, board: Path, queue_name: str, watcher: str, place: str, valid_for: timedelta
) -> Sequence[str]:
    """Add a watcher to the note, or take it out, and return the places of the queue's others.

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
    watchers = queues.get(queue_name, {})
    others = [entry["place"] for other, entry in watchers.items() if other != watcher]
    watchers.pop(watcher, None)
    if valid_for:
        watchers[watcher] = {"place": place, "until": now + valid_for.total_seconds()}
    queues[queue_name] = watchers
    kept = {queue: current for queue, current in queues.items() if current}
    write_note(file, json.dumps(kept, ensure_ascii=False, indent=2).encode(), board)
    return others


def _read(file: Path) -> dict[str, dict[str, _Entry]]:
    try:
        return _NOTE.validate_json(read_note(file) or b"{}")
    except ValidationError:
        return {}
