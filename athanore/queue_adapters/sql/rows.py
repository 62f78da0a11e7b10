"""Tasks as they are in the tables, and texts as they may be stored there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from athanore.errors import InvalidTaskError
from athanore.models import ChecklistItem, Comment, Task
from athanore.queue_adapters.document.document import required, valid, valid_list
from athanore.queue_adapters.document.reading import (
    JsonObject,
    checklist_item_of,
    items_of,
    said_besides,
    strings_of,
)
from athanore.queue_adapters.sql import schema
from athanore.queue_adapters.times import time_of
from athanore.texts import is_storable, storable

LONGEST_NAME = 500
"""Characters of the name of a queue: an index of PostgreSQL takes no more than 2,700 bytes."""

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")

HIGHEST = 10**15
"""An imported id above is a key, so that there are numbers left for new tasks."""

COLUMNS = (
    schema.task.c.number,
    schema.task.c.key,
    schema.queue.c.name.label("queue_name"),
    schema.task.c.name,
    schema.task.c.description,
    schema.task.c.labels,
    schema.task.c.assignees,
    schema.task.c.extra,
)
"""What a poll reads of a task."""


def where_id(task_id: str) -> sa.ColumnElement[bool]:
    """The condition that finds the task of an id."""
    has_key = schema.task.c.key == task_id if is_storable(task_id) else sa.false()
    if not _NUMBER.fullmatch(task_id):
        return has_key
    number = int(task_id)
    # A task with a key has a number as well, which is not its id.
    has_number = sa.and_(schema.task.c.number == number, schema.task.c.key.is_(None))
    return has_number if number <= HIGHEST else sa.or_(has_number, has_key)


def number_and_key(task_id: str) -> tuple[int | None, str | None]:
    """What an imported task has in its columns `number` (None: any) and `key`."""
    if _NUMBER.fullmatch(task_id) and int(task_id) <= HIGHEST:
        return int(task_id), None
    return None, storable(task_id)


def id_of(number: int, key: str | None) -> str:
    """The id of a task on the board."""
    return str(number) if key is None else key


def task_of(
    row: sa.Row[Any], comments: Sequence[Comment] = (), checklist: Iterable[ChecklistItem] = ()
) -> Task:
    """A task from a row with `COLUMNS`."""
    number, key, queue_name, name, description, labels, assignees, extra = row[: len(COLUMNS)]
    besides: object = None if extra == "{}" else read_json(extra)
    return Task(
        id=id_of(number, key),
        name=name,
        queue_name=queue_name,
        description=description,
        labels=() if labels == "[]" else strings_of(read_json(labels)),
        assignees=() if assignees == "[]" else strings_of(read_json(assignees)),
        comments=tuple(comments),
        tasks=tuple(checklist),
        **(said_besides(cast("JsonObject", besides)) if isinstance(besides, dict) else {}),
    )


def comment_of(number: int, text: str, author: str | None, created_at: str | None) -> Comment:
    """A comment from its row."""
    return Comment(text, author or None, time_of(created_at), id=str(number))


def checklist_of(text: str) -> list[ChecklistItem]:
    """The checklist of a task from its column."""
    return [checklist_item_of(item) for item in items_of(read_json(text))]


def read_json(text: str) -> Any:
    """The value of a column with JSON; what another program wrote there otherwise is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_time(time: datetime) -> str:
    """A time for a column."""
    text = time.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def as_json(value: object) -> str:
    """A value for a column with JSON."""
    return json.dumps(value, ensure_ascii=False)


def queue_name_of(name: str) -> str:
    """Return the name of a queue as it can be stored.

    Raises:
        InvalidTaskError: it is blank, too long, or cannot be stored.
    """
    name = storable(required("the name of a queue", name))
    if len(name) > LONGEST_NAME:
        raise InvalidTaskError(
            f"the name of a queue must not be longer than {LONGEST_NAME} characters; "
            f"{name[:40]!r}... has {len(name)}."
        )
    return name


def filled(field: str, text: str) -> str:
    """Return a text that must not be blank as it can be stored.

    Raises:
        InvalidTaskError: it is blank, or no text.
    """
    return storable(required(field, text))


def plain(field: str, text: str) -> str:
    """Return a text as it can be stored.

    Raises:
        InvalidTaskError: it is none.
    """
    return storable(valid(field, text))


def listed(field: str, values: Sequence[str]) -> str:
    """Return a list of texts for a column with JSON.

    Raises:
        InvalidTaskError: it is one text, or one of them is blank.
    """
    return as_json([storable(value) for value in valid_list(field, values)])
