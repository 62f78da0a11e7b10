"""The board for async callers: what has begun is seen through, whoever is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, override

import anyio
import pytest

from athanore import MemoryAdapter
from athanore.runtime.boards.board import _MAX_THREADS, Board  # pyright: ignore[reportPrivateUsage]


class Slow(MemoryAdapter):
    """A board whose moves wait until they may go on."""

    def __init__(self) -> None:
        super().__init__({"A": ["x"], "B": []})
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    @override
    def move_task(self, task_id: str, target_queue: str) -> None:
        self.begun.release()
        self.may_end.wait(30)
        super().move_task(task_id, target_queue)

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.begun.acquire, timeout=30)

    def when_begun(self, cancel: Callable[[], object]) -> asyncio.Task[None]:
        """Cancel once the move has begun, and let it end a moment later."""

        async def cut() -> None:
            await self.has_begun()
            cancel()
            await asyncio.sleep(0.05)
            self.may_end.set()

        return asyncio.create_task(cut())


async def by_cancel(call: Awaitable[None], slow: Slow) -> None:
    """Cancelled as uvicorn and a worker's drain do it, twice."""
    caller = asyncio.ensure_future(call)
    await slow.has_begun()
    for _ in range(2):
        caller.cancel()
        await asyncio.wait({caller}, timeout=0.01)
    slow.may_end.set()
    with suppress(asyncio.CancelledError):
        await caller


async def by_timeout(call: Awaitable[None], slow: Slow) -> None:
    """Cancelled by `asyncio.timeout`."""
    loop = asyncio.get_running_loop()
    limit = asyncio.timeout(None)
    cut = slow.when_begun(lambda: limit.reschedule(loop.time()))
    with suppress(TimeoutError):
        async with limit:
            await call
    await cut


async def by_scope(call: Awaitable[None], slow: Slow) -> None:
    """Cancelled by a scope of anyio."""
    scope = anyio.CancelScope()
    cut = slow.when_begun(scope.cancel)
    with scope:
        await call
    await cut


@pytest.mark.parametrize("how", [by_cancel, by_timeout, by_scope])
def test_a_call_that_has_begun_is_seen_through(
    how: Callable[[Awaitable[None], Slow], Coroutine[Any, Any, None]],
) -> None:
    slow = Slow()
    seen: list[str] = []

    async def call() -> None:
        try:
            await Board(slow).move("1", "B")
        except asyncio.CancelledError:
            seen.append(slow.get_task("1").queue_name)
            raise

    asyncio.run(how(call(), slow))
    assert seen == ["B"], "when the caller is told of its cancellation, the move is over"


def test_texts_are_cleaned_on_their_way_from_the_board_and_to_it() -> None:
    adapter = MemoryAdapter({"A": ["x"], "B": []})
    adapter.update_task("1", name="na\0me", description="\0", labels=["la\0bel"])
    adapter.add_comment("1", "com\0ment")

    async def main() -> None:
        board = Board(adapter)
        (ready,) = await board.ready_tasks(["A"])
        claimed = await board.claim("1", "A", "B")
        for task in (ready, await board.task("1"), claimed):
            assert (task.name, task.description) == ("na\ufffdme", "\ufffd")
            assert task.labels == ("la\ufffdbel",)
        assert [c.text for c in claimed.comments] == ["com\ufffdment"]
        await board.comment("1", "lone \ud800")
        await board.update("1", name="\0", description="\0", labels=["\0"])
        made = await board.create("A", "new\0", "\0")
        assert adapter.get_task("1").comments[-1].text == "lone \ufffd"
        assert adapter.get_task("1").name == "\ufffd"
        assert adapter.get_task(made.id).name == "new\ufffd"

    asyncio.run(main())


def test_a_task_whose_id_cannot_be_stored_does_not_hold_up_the_others() -> None:
    adapter = MemoryAdapter({"A": [{"id": "a\0", "name": "x"}, {"id": "b", "name": "y"}]})
    ready = asyncio.run(Board(adapter).ready_tasks(["A"]))
    assert [task.id for task in ready] == ["b"]


def test_a_call_that_waits_for_a_thread_is_dropped() -> None:
    slow = Slow()

    async def main() -> None:
        board = Board(slow)
        moves = [asyncio.create_task(board.move("1", "B")) for _ in range(_MAX_THREADS)]
        for _ in moves:
            await slow.has_begun()
        late = asyncio.create_task(board.comment("1", "late"))
        await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        slow.may_end.set()
        await asyncio.gather(*moves)
        await board.queues()
        assert slow.get_task("1").comments == ()

    asyncio.run(main())
