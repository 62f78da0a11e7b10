"""The list of open tasks, made once for all who ask for it at the same time."""

from __future__ import annotations

import asyncio

from pydantic import TypeAdapter

from athanore.api.models import TaskSummary, summary_of
from athanore.runtime.boards.board import Board

_JSON = TypeAdapter(list[TaskSummary])

type Queues = tuple[str, ...]


class TaskList:
    """Reads a board and writes JSON, one list at a time, and not in the event loop.

    Whoever asks before a reading has begun shares it; so nobody is told what was true before he
    asked, and many readers of a large board cost little more than one.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._one_at_a_time = asyncio.Lock()
        self._to_begin: dict[Queues | None, asyncio.Task[bytes]] = {}

    async def json(self, queues: Queues | None) -> bytes:
        """The open tasks of these queues, or of all, queue by queue, in board order.

        Raises:
            BoardError, NotFoundError: as `QueueAdapter.get_ready_tasks`.
        """
        reading = self._to_begin.get(queues)
        if reading is None:
            reading = asyncio.create_task(self._read(queues), name="list of tasks")
            self._to_begin[queues] = reading
        return await asyncio.shield(reading)

    async def _read(self, queues: Queues | None) -> bytes:
        async with self._one_at_a_time:
            del self._to_begin[queues]
            wanted = queues or tuple(q.name for q in await self._board.queues())
            tasks = await self._board.ready_tasks(wanted)
            return await asyncio.to_thread(lambda: _JSON.dump_json(list(map(summary_of, tasks))))
