"""The boards in SQL databases keep the contract of `QueueAdapter`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.sql import SqlBoard
from athanore.testing import QueueAdapterContract
from tests import postgres
from tests.contract.in_turns import InTurns

QUEUES = ["Todo", "In Progress", "Done"]


class TestSqlite(QueueAdapterContract):
    """A SQLite file."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Generator[QueueAdapter]:
        board = SqlBoard(f"sqlite:///{tmp_path / 'board.db'}", user="linus")
        board.prepare(QUEUES)
        yield board
        board.close()


class TestSqliteInTurns(QueueAdapterContract):
    """Every call goes to another of three boards over one file, as from several processes."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Generator[QueueAdapter]:
        with ExitStack() as stack:
            boards = [SqlBoard(tmp_path / "board.db", user=None) for _ in range(3)]
            for board in boards:
                stack.callback(board.close)
            boards[0].prepare(QUEUES)
            yield cast(QueueAdapter, InTurns(boards))


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    """An empty PostgreSQL database."""
    postgres.require()
    with postgres.database() as url:
        yield url.replace("+asyncpg", "+psycopg")


@pytest.mark.nightly
class TestPostgres(QueueAdapterContract):
    """A PostgreSQL database, and a schema of it for each test."""

    @pytest.fixture
    def adapter(self, server: str) -> Generator[QueueAdapter]:
        with postgres.schema(server) as address:
            board = SqlBoard(address, user="linus")
            board.prepare(QUEUES)
            yield board
            board.close()
