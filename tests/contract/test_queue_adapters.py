"""Our own boards keep the contract of `QueueAdapter`."""

from pathlib import Path
from typing import cast

import pytest

from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.json_file.adapter import JsonFileAdapter
from athanore.queue_adapters.memory import MemoryAdapter
from athanore.testing import QueueAdapterContract
from tests.contract.in_turns import InTurns

QUEUES = ["Todo", "In Progress", "Done"]


class TestMemoryAdapter(QueueAdapterContract):
    """The board in memory."""

    @pytest.fixture
    def adapter(self) -> QueueAdapter:
        return MemoryAdapter(QUEUES, user="linus")


class TestJsonFileAdapter(QueueAdapterContract):
    """The board in a file."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> QueueAdapter:
        board = JsonFileAdapter(tmp_path / "board.json", user="linus")
        board.prepare(QUEUES)
        return board


class TestJsonFileAdaptersInTurns(QueueAdapterContract):
    """Every call goes to another of three boards over one file, as from several processes."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> QueueAdapter:
        boards = [JsonFileAdapter(tmp_path / "board.json", user=None) for _ in range(3)]
        boards[0].prepare(QUEUES)
        return cast(QueueAdapter, InTurns(boards))
