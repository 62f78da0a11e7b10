"""Our own boards keep the contract of `QueueAdapter`."""

import itertools
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from athanore.models import Task
from athanore.queue_adapters.base import QueueAdapter
from athanore.queue_adapters.json_file.adapter import JsonFileAdapter
from athanore.queue_adapters.memory import MemoryAdapter
from athanore.testing import QueueAdapterContract

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


class InTurns:
    """Takes each method from the next of several boards; the optional ones are seen as its own."""

    def __init__(self, boards: list[JsonFileAdapter]) -> None:
        self._boards = itertools.cycle(boards)

    def __getattr__(self, name: str) -> Any:
        return getattr(next(self._boards), name)

    @property
    def user(self) -> str | None:
        return next(self._boards).user

    def prepare(self, queue_names: Sequence[str]) -> None:
        next(self._boards).prepare(queue_names)

    def claim_task(self, task_id: str, **where: Any) -> Task:
        return next(self._boards).claim_task(task_id, **where)

    def change_stamp(self) -> Hashable | None:
        return next(self._boards).change_stamp()
