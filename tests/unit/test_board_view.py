"""The picture of the board that pages share: read once, and only where it may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence

import pytest

from athanore import MemoryAdapter, Task
from athanore.api.page.shares import fair_shares
from athanore.runtime.boards.board import Board
from athanore.runtime.boards.board_view import BoardView


class Counting(MemoryAdapter):
    """Counts how often all its tasks are read."""

    def __init__(self, *, stamps: bool) -> None:
        super().__init__(["Todo", "Done"])
        self._stamps = stamps
        self.reads = 0

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        self.reads += 1
        return super().get_ready_tasks(queue_names)

    def change_stamp(self) -> Hashable | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().change_stamp() if self._stamps else None


async def test_a_board_that_has_not_changed_is_not_read_again() -> None:
    adapter = Counting(stamps=True)
    view = BoardView(Board(adapter), set())
    for _ in range(3):
        assert (await view.read()).tasks == []
    assert adapter.reads == 1
    task = adapter.create_task("Todo", "New")
    assert [t.id for t in (await view.read(max_age=1000)).tasks] == [task.id]
    assert adapter.reads == 2


async def test_a_board_without_stamps_is_read_as_often_as_is_asked_for() -> None:
    adapter = Counting(stamps=False)
    view = BoardView(Board(adapter), set())
    await view.read(max_age=1000)
    adapter.create_task("Todo", "New")
    assert (await view.read(max_age=1000)).tasks == []
    assert len((await view.read()).tasks) == 1
    assert adapter.reads == 2


async def test_what_is_written_through_this_process_is_seen_at_once() -> None:
    adapter = Counting(stamps=False)
    board = Board(adapter)
    view = BoardView(board, set())
    assert (await view.read(max_age=1000)).tasks == []
    task = await board.create("Todo", "New")
    assert [t.id for t in (await view.read(max_age=1000)).tasks] == [task.id]
    await board.move(task.id, "Done")
    assert [t.queue_name for t in (await view.read(max_age=1000)).tasks] == ["Done"]
    await view.read(max_age=1000)
    assert adapter.reads == 3


async def test_what_a_webhook_has_told_of_is_seen_at_once() -> None:
    adapter = Counting(stamps=False)
    board = Board(adapter)
    view = BoardView(board, set())
    await view.read(max_age=1000)
    task = adapter.create_task("Todo", "New")  # by somebody else
    await board.told_of_change()
    assert [t.id for t in (await view.read(max_age=1000)).tasks] == [task.id]
    adapter.move_task(task.id, "Done")
    await board.ready_tasks(["Todo"], newer_than="2026-01-01T11:00:01+00:00")
    assert [t.queue_name for t in (await view.read(max_age=1000)).tasks] == ["Done"]


async def test_who_looks_at_once_shares_one_reading() -> None:
    adapter = Counting(stamps=False)
    view = BoardView(Board(adapter), set())
    await asyncio.gather(*(view.read(max_age=1000) for _ in range(5)))
    assert adapter.reads == 1


async def test_of_a_board_with_very_many_queues_the_preferred_are_read() -> None:
    adapter = MemoryAdapter([f"Queue {i}" for i in range(50)])
    view = BoardView(Board(adapter), {"Queue 7"})
    assert [q.name for q in (await view.read()).queues] == ["Queue 7"]


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ({"a": 3, "b": 97}, {"a": 3, "b": 97}),
        ({"a": 10_000, "b": 10, "c": 900}, {"a": 45, "b": 10, "c": 45}),
        ({}, {}),
    ],
)
def test_short_queues_are_shown_whole(sizes: dict[str, int], shares: dict[str, int]) -> None:
    assert fair_shares(sizes, 100) == shares
