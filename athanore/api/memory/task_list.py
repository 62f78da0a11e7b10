"""The list of open tasks, made once for all who ask for it at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import TypeAdapter

from athanore.api.models import ListedTaskModel, listed
from athanore.models import Task
from athanore.runtime.boards.board import Board
from athanore.services.status.reasons import Explanation

_JSON = TypeAdapter(list[ListedTaskModel])

type Queues = tuple[str, ...]


class Whys(Protocol):
    """Says of tasks why they wait; see `Seen.whys`."""

    async def __call__(
        self, tasks: Sequence[Task], *, all_open: bool
    ) -> Mapping[str, Explanation]: ...


class TaskList:
    """Reads a board and writes JSON, one list at a time, and not in the event loop.

    Whoever asks before a reading has begun shares it; so nobody is told what was true before he
    asked, and many readers of a large board cost little more than one.
    """

    def __init__(self, board: Board, whys: Whys) -> None:
        self._board = board
        self._whys = whys
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
            whys = await self._whys(tasks, all_open=queues is None)
            return await asyncio.to_thread(
                lambda: _JSON.dump_json([listed(t, whys.get(t.id)) for t in tasks])
            )
