"""Boards that answer several polls from one reading read anew for a poll of a webhook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import pytest

from athanore.queue_adapters.base import QueueAdapter, QueueBackend
from athanore.queue_adapters.freshness import KeepsPicture
from athanore.queue_adapters.planka.backend import PlankaBackend
from athanore.runtime.boards.board import Board
from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.gitlab import gitlab_double
from athanore.testing.doubles.jira import jira_double
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.planka.server import ADMIN_KEY, planka_double
from tests.planka.site import fresh_board, site_with_users

QUEUES = ("Todo", "In Progress", "Done")


@contextmanager
def on_github() -> Generator[QueueBackend]:
    with github_double() as double:
        yield double.board()


@contextmanager
def on_a_github_project() -> Generator[QueueBackend]:
    with github_double(project=("octo-org", 5)) as double:
        double.project.start_anew([*QUEUES])
        yield double.project_board()


@contextmanager
def on_gitlab() -> Generator[QueueBackend]:
    with gitlab_double() as double:
        yield double.board()


@contextmanager
def on_jira() -> Generator[QueueBackend]:
    with jira_double(statuses=QUEUES) as double:
        yield double.board()


@contextmanager
def on_linear() -> Generator[QueueBackend]:
    with linear_double() as double:
        yield double.board()


@contextmanager
def on_planka() -> Generator[QueueBackend]:
    with (
        planka_double(lists=()) as server,
        site_with_users(server.url, ADMIN_KEY, ()) as site,
        fresh_board(site, "P", "B", QUEUES, ()) as board,
    ):
        yield PlankaBackend(site.url, token=site.token, boards=[board])


SITES: dict[str, Callable[[], AbstractContextManager[QueueBackend]]] = {
    "github": on_github,
    "github-project": on_a_github_project,
    "gitlab": on_gitlab,
    "jira": on_jira,
    "linear": on_linear,
    "planka": on_planka,
}


def names(adapter: QueueAdapter) -> list[str]:
    return [task.name.split()[-1] for task in adapter.get_ready_tasks(["Todo"])]


@pytest.mark.parametrize("site", SITES)
def test_what_another_process_has_changed_is_seen_after_a_webhook_told_it(site: str) -> None:
    with SITES[site]() as backend:
        worker, other = backend.create_adapter(), backend.create_adapter()
        assert isinstance(worker, KeepsPicture)
        assert names(worker) == []
        other.create_task("Todo", "new")
        worker.forget_picture()  # it would last for a moment
        assert names(worker) == ["new"]
        worker.create_task("Todo", "own")
        worker.forget_picture()
        assert sorted(names(worker)) == ["new", "own"]


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
