"""Comments have the ids of boards that give them some."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.sql.board import SqlBoard
from tests.contract.sites import SITES


def ids_of(adapter: QueueAdapter, queue: str = "Todo") -> list[str | None]:
    """The ids of two comments of the same words, as they are read twice."""
    task = adapter.create_task(queue, "talk")
    for _ in range(2):
        adapter.add_comment(task.id, "same")
    first, again = (adapter.get_task(task.id).comments for _ in range(2))
    assert [c.text for c in first] == ["same", "same"]
    assert first == again
    return [c.id for c in first]


@pytest.mark.parametrize("board", SITES)
def test_each_comment_of_a_tracker_has_an_id_of_its_own(board: str) -> None:
    with SITES[board]() as site:
        one, other = ids_of(site.adapter, f"{site.prefix}Todo")
    assert one and other and one != other


def test_so_has_each_comment_of_a_database(tmp_path: Path) -> None:
    adapter = SqlBoard(f"sqlite:///{tmp_path / 'board.db'}")
    adapter.prepare(["Todo"])
    assert ids_of(adapter) == ["1", "2"]
    adapter.close()
