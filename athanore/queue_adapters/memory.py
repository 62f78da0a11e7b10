"""A board in memory, for tests and demonstrations."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from athanore.models import BoardIdentity
from athanore.queue_adapters.document.adapter import DocumentAdapter
from athanore.queue_adapters.document.document import Document, JsonQueues

type MemoryTask = str | Mapping[str, Any]


class MemoryAdapter(DocumentAdapter):
    """A board that lives as long as this object; otherwise it behaves as `JsonFileAdapter` does.

        MemoryAdapter(["Todo", "In Progress", "Done"])
        MemoryAdapter({"Todo": ["Fix crash", {"name": "Write docs", "labels": ["docs"]}]})

    Args:
        queues: the names of empty queues, or the tasks by queue: each a name, or a mapping in the
            format of the JSON file. A task without an id gets the next number.
        user: whom a claim assigns; None, the default, assigns nobody.
    """

    def __init__(
        self,
        queues: Iterable[str] | Mapping[str, Sequence[MemoryTask]] = (),
        *,
        user: str | None = None,
    ) -> None:
        super().__init__(user)
        self._lock = threading.Lock()
        self._version = 0
        self._mark = secrets.token_hex(8)
        self._board = Document.parse({"queues": _with_ids(queues)})

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Create the queues if the board has none yet."""
        with self._lock:
            if not self._board.queues:
                self._board = Document.parse({"queues": _with_ids(queue_names)})

    def change_stamp(self) -> str:
        """Return the number of changes so far, of this board and no other."""
        return f"{self._mark}-{self._version}"

    def board_identity(self) -> BoardIdentity:
        """A board of this process: another process has another, and this one ends with it."""
        mark = f"memory:{socket.gethostname()}:{os.getpid()}"
        return BoardIdentity((mark,), f"in the memory of process {os.getpid()}", lasting=False)

    def _read(self) -> Document:
        return self._board

    def _change(self, change: Callable[[Document], Document]) -> Document:
        with self._lock:
            board = change(self._board)
            if board is not self._board:
                self._board = board
                self._version += 1
            return board


def _with_ids(queues: Iterable[str] | Mapping[str, Sequence[MemoryTask]]) -> JsonQueues:
    """Copy the tasks, so that nothing is shared with the caller, and number those without an id."""
    number = 0
    copies: JsonQueues = {name: [] for name in queues}
    if not isinstance(queues, Mapping):
        return copies
    for name, tasks in cast(Mapping[str, Sequence[MemoryTask]], queues).items():
        for task in tasks:
            number += 1
            fields = {"name": task} if isinstance(task, str) else dict(task)
            copies[name].append(json.loads(json.dumps({"id": str(number), **fields})))
    return copies
