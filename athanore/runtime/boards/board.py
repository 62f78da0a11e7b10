"""The board for async callers: the one place where the synchronous adapters meet threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic

from cachetools import LRUCache

from athanore.errors import QueueNotFoundError
from athanore.models import BoardIdentity, Queue, Quota, Task
from athanore.queue_adapters import base
from athanore.queue_adapters.base import (
    HasIdentity,
    QueueAdapter,
    SupportsChangeStamp,
    SupportsProblems,
    SupportsWatchers,
)
from athanore.queue_adapters.freshness import KeepsPicture
from athanore.queue_adapters.quota import HasQuotas
from athanore.queue_adapters.typed_ids import HasTypedIds
from athanore.runtime.boards.own_changes import OwnChanges
from athanore.seen_through import seen_through
from athanore.texts import is_storable, storable

_MAX_THREADS = 16
_REMEMBERED = 1_000


class Board:
    """An adapter whose methods are awaited; each call runs in a thread of a small pool.

    A call that has begun is seen through even if the caller is cancelled, in whichever way: the
    caller gets its `CancelledError` when the call is over, so that no comment and no move is left
    in doubt. A call that still waits for a free thread is dropped.

    Texts that come from the board or go to it are cleaned of what Prefect, or a board on
    PostgreSQL, cannot store.

    Attributes:
        own_changes: where tasks were put through this object.
        changes: how many changes have ended that were made through this object, and of how many a
            webhook has told; a picture of before the last one may be outdated.
    """

    def __init__(self, adapter: QueueAdapter) -> None:
        self.adapter = adapter
        self.own_changes = OwnChanges()
        self.changes = 0
        self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="athanore-board")
        self._looked_since: LRUCache[str, bool] = LRUCache(_REMEMBERED)
        self._taken: LRUCache[tuple[str, str], float] = LRUCache(_REMEMBERED)

    async def call[T](self, function: Callable[[], T]) -> T:
        """Run a plain function of the adapter in a thread."""
        begun = self._threads.submit(contextvars.copy_context().run, function)
        work = asyncio.wrap_future(begun)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if not begun.cancel():
                await seen_through(work)
            raise

    async def write[T](self, function: Callable[[], T]) -> T:
        """Run a function of the adapter that changes the board."""
        try:
            return await self.call(function)
        finally:
            self.changes += 1

    async def told_of_change(self) -> None:
        """Have what was read before answer nobody, because a webhook has told of a change."""
        adapter = self.adapter
        if isinstance(adapter, KeepsPicture):
            await self.call(adapter.forget_picture)
        self.changes += 1

    async def ready_tasks(self, queue_names: Sequence[str], *, newer_than: str = "") -> list[Task]:
        """See `QueueAdapter.get_ready_tasks`.

        Args:
            newer_than: when the change was that a webhook told. The first call with it reads the
                board anew, and those after it may share that. It is no time to compare with: the
                clock that it is from is another process's.
        """
        if newer_than and newer_than not in self._looked_since:
            self._looked_since[newer_than] = True
            await self.told_of_change()
        tasks = await self.call(partial(self.adapter.get_ready_tasks, queue_names))
        # A task whose id cannot be stored cannot be worked on, and must not hold up the others.
        return [_storable(task) for task in tasks if is_storable(task.id)]

    async def tasks_there(self, queue_names: Iterable[str]) -> tuple[list[Task], frozenset[str]]:
        """The tasks of those of some queues that the board has, and which of them it has not.

        A queue that somebody has renamed or removed concerns its own routes only.
        """
        wanted = list(dict.fromkeys(queue_names))
        try:
            return await self.ready_tasks(wanted), frozenset()
        except QueueNotFoundError:
            there = {queue.name for queue in await self.queues()}
            found = await self.ready_tasks([name for name in wanted if name in there])
            return found, frozenset(wanted) - there

    async def problems(self) -> Sequence[str]:
        """Say of each card that cannot be read what is wrong with it; see `SupportsProblems`."""
        adapter = self.adapter
        found = await self.call(adapter.problems) if isinstance(adapter, SupportsProblems) else ()
        return [storable(problem) for problem in found]

    def quotas(self) -> Sequence[Quota]:
        """What is left of the requests that the board allows; empty where it does not count."""
        adapter = self.adapter
        return adapter.quotas() if isinstance(adapter, HasQuotas) else ()

    async def id_of(self, text: str) -> str:
        """The id of the task that somebody has typed; see `HasTypedIds`."""
        adapter = self.adapter
        if not isinstance(adapter, HasTypedIds):
            return text
        return await self.call(partial(adapter.id_of, text))

    async def task(self, task_id: str) -> Task:
        """See `QueueAdapter.get_task`."""
        return _storable(await self.call(partial(self.adapter.get_task, task_id)))

    async def claim(self, task_id: str, source_queue: str, target_queue: str) -> Task:
        """See `athanore.queue_adapters.base.claim_task`."""
        with self._noted(task_id, target_queue):
            claimed = await self.write(
                partial(
                    base.claim_task,
                    self.adapter,
                    task_id,
                    source_queue=source_queue,
                    target_queue=target_queue,
                )
            )
        return _storable(claimed)

    async def move(self, task_id: str, target_queue: str, *, followed: bool = True) -> None:
        """See `QueueAdapter.move_task`.

        Args:
            followed: whoever moves the task sees to what it is due there. Else it is found as if a
                person had moved it.
        """
        with self._noted(task_id, target_queue if followed else None):
            await self.write(partial(self.adapter.move_task, task_id, target_queue))
        self._taken[task_id, f"move to {target_queue}"] = monotonic()

    async def comment(self, task_id: str, text: str) -> None:
        """See `QueueAdapter.add_comment`."""
        await self.write(partial(self.adapter.add_comment, task_id, storable(text)))
        self._taken[task_id, "comment"] = monotonic()

    def took_others(self, task_id: str, what: str, since: float) -> bool:
        """Whether the board has taken the same of another task since a moment.

        Args:
            what: `comment`, or `move to` a queue.
            since: as `time.monotonic` gives it.
        """
        return any(
            at >= since
            for (other, taken), at in self._taken.items()
            if other != task_id and taken == what
        )

    async def update(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Task:
        """See `QueueAdapter.update_task`."""
        changed = await self.write(
            partial(
                self.adapter.update_task,
                task_id,
                assignees=_all_storable(assignees),
                name=None if name is None else storable(name),
                description=None if description is None else storable(description),
                labels=_all_storable(labels),
            )
        )
        return _storable(changed)

    @contextmanager
    def _noted(self, task_id: str, queue_name: str | None) -> Generator[None]:
        if queue_name is None:
            self.own_changes.forget(task_id)
        else:
            self.own_changes.note(task_id, queue_name)
        try:
            yield
        except Exception:
            self.own_changes.forget(task_id)
            raise

    @property
    def has_stamp(self) -> bool:
        """True where the board tells cheaply whether it may have changed."""
        return isinstance(self.adapter, SupportsChangeStamp)

    async def change_stamp(self) -> Hashable | None:
        """See `SupportsChangeStamp`; None where the board has none, or does not know now."""
        adapter = self.adapter
        if not isinstance(adapter, SupportsChangeStamp):
            return None
        return await self.call(adapter.change_stamp)

    async def watched_by(
        self, queue_name: str, watcher: str, place: str, valid_for: timedelta
    ) -> Sequence[str]:
        """See `SupportsWatchers.watched_by`; nobody where the board has no such notes."""
        adapter = self.adapter
        if not isinstance(adapter, SupportsWatchers):
            return ()
        return await self.call(partial(adapter.watched_by, queue_name, watcher, place, valid_for))

    async def identity(self) -> BoardIdentity | None:
        """See `HasIdentity.board_identity`; None where the board cannot be told from others."""
        adapter = self.adapter
        if not isinstance(adapter, HasIdentity):
            return None
        return await self.call(adapter.board_identity)

    async def create(self, queue_name: str, name: str, description: str = "") -> Task:
        """See `QueueAdapter.create_task`."""
        texts = (storable(name), storable(description))
        created = await self.write(partial(self.adapter.create_task, queue_name, *texts))
        self.own_changes.note(created.id, queue_name)
        return created

    async def queues(self) -> list[Queue]:
        """See `QueueAdapter.list_queues`."""
        return await self.call(self.adapter.list_queues)

    async def queue(self, queue_name: str) -> Queue:
        """See `QueueAdapter.get_queue`."""
        return await self.call(partial(self.adapter.get_queue, queue_name))


def _all_storable(texts: Sequence[str] | None) -> list[str] | None:
    return None if texts is None else [storable(text) for text in texts]


def _storable(task: Task) -> Task:
    """The task as it can be given to agents and to Prefect."""
    return replace(
        task,
        name=storable(task.name),
        description=storable(task.description),
        labels=tuple(map(storable, task.labels)),
        assignees=tuple(map(storable, task.assignees)),
        comments=tuple(
            replace(
                c,
                text=storable(c.text),
                author=c.author and storable(c.author),
                id=c.id and storable(c.id),
            )
            for c in task.comments
        ),
        tasks=tuple(replace(item, name=storable(item.name)) for item in task.tasks),
    )
