"""A whole board from one place to another, by way of a file in the format of the JSON board."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from athanore.errors import ConfigurationError
from athanore.models import Task
from athanore.queue_adapters.base import QueueAdapter, SupportsPrepare
from athanore.queue_adapters.document.whole import readable
from athanore.queue_adapters.json_file.json_text import TextError, read_json, write_json
from athanore.queue_adapters.whole_board import SupportsCopy


@dataclass(frozen=True, slots=True)
class Copied:
    """How much was copied.

    Attributes:
        only_open: the board tells its open tasks only, and those were copied.
        left_out: by queue, how many of the tasks that the board counts there were not copied.
    """

    queues: int
    tasks: int
    only_open: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])


def export_board(board: QueueAdapter, file: Path) -> Copied:
    """Write a board into a new file.

    Of a board that cannot be taken out whole (`SupportsCopy`) each open task is read by itself.

    Raises:
        ConfigurationError: the file is there already, or cannot be written.
        BoardError: the board cannot be read; no file is left.
    """
    refused = f"{file} is there already, and nothing was exported; name a file that is not."
    if os.path.exists(file):  # not if it cannot be looked for: opening it says why
        raise ConfigurationError(refused)
    is_whole, left_out = isinstance(board, SupportsCopy), dict[str, int]()
    data = board.export_board() if isinstance(board, SupportsCopy) else _read(board, left_out)
    try:
        with file.open("xb") as output:
            try:
                output.write(write_json(data))
            except BaseException:
                with suppress(OSError):
                    file.unlink()
                raise
    except FileExistsError as exc:
        raise ConfigurationError(refused) from exc
    except OSError as exc:
        raise ConfigurationError(f"{file} cannot be written: {exc.strerror or exc}.") from exc
    return replace(_counted(data), only_open=not is_whole, left_out=left_out)


def import_board(board: QueueAdapter, file: Path) -> Copied:
    """Read a file into a board without tasks; a board that does not exist is made.

    Raises:
        ConfigurationError: the file is no board or cannot be read, or the board has tasks, or
            cannot be filled like this.
        BoardError: the board does not answer, or refuses a value; nothing was imported.
    """
    if not isinstance(board, SupportsCopy):
        raise ConfigurationError(
            f"A board of the kind {type(board).__name__} cannot be imported into."
        )
    try:
        data: object = read_json(file.read_bytes())
    except OSError as exc:
        raise ConfigurationError(f"{file} cannot be read: {exc.strerror or exc}.") from exc
    except TextError as exc:
        raise ConfigurationError(f"{file} is broken: {exc}; nothing was imported.") from exc
    if not isinstance(data, dict):
        raise ConfigurationError(f"{file} is no board; nothing was imported.")
    fields = cast("dict[str, Any]", data)
    readable(fields)  # before a board is made for it
    if isinstance(board, SupportsPrepare):
        board.prepare([])
    board.import_board(fields)
    return _counted(fields)


def _counted(data: Mapping[str, Any]) -> Copied:
    return Copied(len(data["queues"]), sum(map(len, data["queues"].values())))


def _read(board: QueueAdapter, left_out: dict[str, int]) -> dict[str, Any]:
    """Read the open tasks, and note how many others the queues have."""
    queues: dict[str, list[Any]] = {}
    for queue in board.list_queues():
        found = board.get_ready_tasks([queue.name])
        if (others := queue.task_count - len(found)) > 0:
            left_out[queue.name] = others
        queues[queue.name] = [_fields(board.get_task(task.id)) for task in found]
    return {"queues": queues}


def _fields(task: Task) -> dict[str, Any]:
    said = {
        "blocked_by": list(task.blocked_by),
        "author": task.author,
        "priority": task.priority,
        "created_at": task.created_at and task.created_at.isoformat(),
        "updated_at": task.updated_at and task.updated_at.isoformat(),
    }
    return {
        "id": task.id,
        "name": task.name,
        "description": task.description,
        "labels": list(task.labels),
        "assignees": list(task.assignees),
        "comments": [
            {
                "text": comment.text,
                "author": comment.author,
                "created_at": comment.created_at and comment.created_at.isoformat(),
            }
            for comment in task.comments
        ],
        "tasks": [{"name": item.name, "is_completed": item.is_completed} for item in task.tasks],
        **{name: value for name, value in said.items() if value},
    }
