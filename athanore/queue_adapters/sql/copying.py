"""A whole board into the tables, and out of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, cast

import sqlalchemy as sa

from athanore.queue_adapters.document.document import LAST_ID, Document, JsonQueues, check_empty
from athanore.queue_adapters.document.reading import (
    JsonObject,
    comment_of,
    id_of,
    items_of,
    number_of,
    strings_of,
    text_of,
)
from athanore.queue_adapters.sql import rows, schema
from athanore.texts import storable

_task, _queue, _comment = schema.task, schema.queue, schema.comment

_OWN = frozenset({"id", "name", "description", "labels", "assignees", "comments", "tasks"})
"""The fields of a task that have columns of their own; what else it has goes into `extra`."""


def fill(connection: sa.Connection, board: Document) -> None:
    """Put a board into the tables, which must have no tasks.

    Raises:
        ConfigurationError: they have some.
        InvalidTaskError: the name of a queue is blank or too long.
    """
    check_empty(connection.execute(sa.select(sa.func.count()).select_from(_task)).scalar_one())
    numbers = _make_queues(connection, list(board.queues))
    last = _last_id(board)
    tasks: list[dict[str, Any]] = []
    comments: list[dict[str, Any]] = []
    for name, raws in board.queues.items():
        for place, raw in enumerate(raws, 1):
            number, key = rows.number_and_key(id_of(raw))
            if number is None:
                last = number = last + 1
            tasks.append({"number": number, "key": key, "queue": numbers[name], "place": place})
            tasks[-1] |= _columns_of(raw)
            comments += _comments_of(number, raw)
    if tasks:
        connection.execute(sa.insert(_task), tasks)
    if comments:
        connection.execute(sa.insert(_comment), comments)
    _number_from(connection, last)


def take(connection: sa.Connection) -> dict[str, Any]:
    """Return the board in the format of the JSON file."""
    names = sa.select(_queue.c.number, _queue.c.name).order_by(_queue.c.number)
    by_number: dict[int, list[JsonObject]] = {}
    queues: JsonQueues = {}
    for number, name in connection.execute(names):
        by_number[number] = queues[name] = []
    comments: defaultdict[int, list[JsonObject]] = defaultdict(list)
    for row in connection.execute(sa.select(_comment).order_by(_comment.c.number)):
        fields = {"text": row.text, "author": row.author, "created_at": row.created_at}
        comments[row.task].append({k: v for k, v in fields.items() if v is not None})
    for row in connection.execute(sa.select(_task).order_by(_task.c.place, _task.c.number)):
        extra: object = rows.read_json(row.extra)
        by_number[row.queue].append(
            {
                "id": rows.id_of(row.number, row.key),
                "name": row.name,
                "description": row.description,
                "labels": list(strings_of(rows.read_json(row.labels))),
                "assignees": list(strings_of(rows.read_json(row.assignees))),
                "comments": comments[row.number],
                "tasks": items_of(rows.read_json(row.checklist)),
                **(cast("JsonObject", extra) if isinstance(extra, dict) else {}),
            }
        )
    return {"queues": queues, "last_id": _last_number(connection)}


def _last_id(board: Document) -> int:
    """The highest id that is a number here, of deleted tasks, too."""
    noted = number_of(board.data.get(LAST_ID))
    numbers = (rows.number_and_key(task_id)[0] or 0 for task_id in board.tasks)
    return max(noted if noted <= rows.HIGHEST else 0, *numbers, 0)


def _make_queues(connection: sa.Connection, names: list[str]) -> dict[str, int]:
    """Make the queues, before those that are there; all of these are empty."""
    there = connection.execute(sa.select(_queue.c.name).order_by(_queue.c.number)).scalars().all()
    connection.execute(sa.delete(_queue))
    numbers: dict[str, int] = {}
    for name in dict.fromkeys([*names, *there]):
        stored = rows.queue_name_of(name)
        made = connection.execute(sa.insert(_queue).values(name=stored)).inserted_primary_key
        assert made is not None
        numbers[name] = made[0]
    return numbers


def _columns_of(raw: JsonObject) -> dict[str, str]:
    return {
        "name": storable(text_of(raw.get("name"))),
        "description": storable(text_of(raw.get("description"))),
        "labels": rows.as_json([storable(text) for text in strings_of(raw.get("labels"))]),
        "assignees": rows.as_json([storable(text) for text in strings_of(raw.get("assignees"))]),
        "checklist": rows.as_json(items_of(raw.get("tasks"))),
        "extra": rows.as_json({k: v for k, v in raw.items() if k not in _OWN}),
    }


def _comments_of(number: int, raw: JsonObject) -> Iterator[dict[str, Any]]:
    for item in items_of(raw.get("comments")):
        comment = comment_of(item)
        yield {
            "task": number,
            "text": storable(comment.text),
            "author": None if comment.author is None else storable(comment.author),
            "created_at": None if comment.created_at is None else rows.as_time(comment.created_at),
        }


def _number_from(connection: sa.Connection, last: int) -> None:
    """Have new tasks numbered after this one: no id is given to a second task."""
    if connection.dialect.name == "sqlite":
        name = {"name": _task.name}
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), name)
        row = "INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"
        connection.execute(sa.text(row), name | {"last": max(last, _last_number(connection))})
    elif last:
        connection.execute(sa.text(f"SELECT setval({_SEQUENCE}, :last)"), {"last": last})


_SEQUENCE = "pg_get_serial_sequence('athanore_task', 'number')"


def _last_number(connection: sa.Connection) -> int:
    """The highest number that a task has had."""
    if connection.dialect.name == "sqlite":
        query = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'athanore_task'"
    else:
        query = f"SELECT pg_sequence_last_value({_SEQUENCE}::regclass)"
    return connection.execute(sa.text(query)).scalar() or 0
