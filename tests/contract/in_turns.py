"""A board whose every call goes to another of several adapters, as from several processes."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import Any

from athanore.models import Task
from athanore.queue_adapters.json_file.adapter import JsonFileAdapter
from athanore.queue_adapters.sql import SqlBoard


class InTurns:
    """Takes each method from the next of several boards; the optional ones are seen as its own."""

    def __init__(self, boards: Sequence[JsonFileAdapter | SqlBoard]) -> None:
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
