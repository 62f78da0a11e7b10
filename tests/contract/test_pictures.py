"""Boards that answer several polls from one reading read anew for a poll of a webhook."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from athanore.queue_adapters.freshness import KeepsPicture
from athanore.runtime.boards.board import Board
from athanore.testing.doubles.github import github_double
from tests.contract.sites import SITES

BOARDS = ("github", "github-project", "gitlab", "jira", "linear", "planka")


@pytest.mark.parametrize("board", BOARDS)
def test_what_another_process_has_changed_is_seen_after_a_webhook_told_it(board: str) -> None:
    with SITES[board]() as site, closing(site.another()) as other:
        worker, todo = site.adapter, f"{site.prefix}Todo"

        def names() -> list[str]:
            return [task.name.split()[-1] for task in worker.get_ready_tasks([todo])]

        assert isinstance(worker, KeepsPicture)
        assert names() == []
        other.create_task(todo, "new")
        worker.forget_picture()  # it would last for a moment
        assert names() == ["new"]
        worker.create_task(todo, "own")
        worker.forget_picture()
        assert sorted(names()) == ["new", "own"]


def test_of_the_polls_that_one_delivery_asks_for_the_first_reads_the_board() -> None:
    with github_double() as github:
        adapter, other = github.board().create_adapter(), github.board().create_adapter()
        board = Board(adapter)

        async def poll(newer_than: str = "") -> int:
            return len(await board.ready_tasks(["Todo"], newer_than=newer_than))

        async def main() -> None:
            assert await poll() == 0
            other.create_task("Todo", "new")
            await poll()  # answered by the first reading, or not, if that was a while ago
            github.log.clear()
            # The clock of the process that took the delivery is an hour behind: its word counts.
            assert [await poll("2026-01-01T11:00:01+00:00") for _ in range(3)] == [1, 1, 1]
            assert github.log == ["GET /repos/octo-org/website/issues"]
            other.move_task("1", "Done")
            assert await poll("2026-01-01T11:00:02+00:00") == 0

        asyncio.run(main())
