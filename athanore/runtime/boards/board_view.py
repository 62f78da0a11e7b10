"""What the board looked like a moment ago, read once for all who show it.

For showing only: pages, and the ids that a 404 lists. Nothing is decided by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from time import monotonic

from athanore.models import Queue, Task
from athanore.runtime.boards.board import Board

_MAX_QUEUES = 40


@dataclass(frozen=True, slots=True)
class Picture:
    """The queues of a board and their open tasks, queue by queue in board order."""

    queues: list[Queue]
    tasks: list[Task]


class BoardView:
    """Reads the board when somebody looks, one reading at a time.

    A board that tells that it has not changed (`SupportsChangeStamp`) is not read again. Of others
    a picture lasts until it is too old, something is written through this process, or a webhook
    tells of a change.

    Args:
        preferred: of a board with more than 40 queues only these are read.
    """

    def __init__(self, board: Board, preferred: set[str]) -> None:
        self._board = board
        self._preferred = preferred
        self._lock = asyncio.Lock()
        self._picture = Picture([], [])
        self._stamp: Hashable | None = None
        self._read_at: float | None = None
        self._changes = 0

    async def read(self, max_age: float = 0.0) -> Picture:
        """Return a picture of the board that was true at most so many seconds ago.

        The age counts only where the board has no change stamp.

        Raises:
            BoardError: the board cannot be read; `last` has what it was.
        """
        async with self._lock:
            # Before the reading: what changes meanwhile makes it outdated.
            now, changes = monotonic(), self._board.changes
            stamp = await self._board.change_stamp()
            if stamp is not None:
                is_true = stamp == self._stamp
            else:
                is_young = self._read_at is not None and now - self._read_at < max_age
                is_true = is_young and changes == self._changes
            if not is_true:
                self._picture = await self._read()
                self._stamp, self._read_at, self._changes = stamp, now, changes
            return self._picture

    @property
    def last(self) -> Picture:
        """The picture that was read last, however old; an empty one before."""
        return self._picture

    async def _read(self) -> Picture:
        queues = await self._board.queues()
        if len(queues) > _MAX_QUEUES:
            queues = [q for q in queues if q.name in self._preferred]
        return Picture(queues, await self._board.ready_tasks([q.name for q in queues]))
