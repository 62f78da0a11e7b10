"""Reading single things within a transaction: a task, a queue, or that it is not there."""

from __future__ import annotations

import sqlalchemy as sa

from athanore.errors import BoardError, QueueNotFoundError, TaskNotFoundError
from athanore.models import Queue, Task
from athanore.queue_adapters.sql import rows, schema
from athanore.texts import is_storable

_task, _queue, _comment = schema.task, schema.queue, schema.comment


def whole(connection: sa.Connection, task_id: str) -> Task:
    """A task with its comments and its checklist.

    Raises:
        TaskNotFoundError: no task has this id.
    """
    query = (
        sa.select(*rows.COLUMNS, _task.c.checklist)
        .join_from(_task, _queue)
        .where(rows.where_id(task_id))
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise TaskNotFoundError(task_id)
    columns = (_comment.c.number, _comment.c.text, _comment.c.author, _comment.c.created_at)
    comments = sa.select(*columns).where(_comment.c.task == row.number).order_by(_comment.c.number)
    found = [rows.comment_of(*comment) for comment in connection.execute(comments)]
    return rows.task_of(row, found, rows.checklist_of(row.checklist))


def check_task(connection: sa.Connection, task_id: str) -> int:
    """The number of a task.

    Raises:
        TaskNotFoundError: no task has this id.
    """
    found = connection.execute(sa.select(_task.c.number).where(rows.where_id(task_id))).scalar()
    if found is None:
        raise TaskNotFoundError(task_id)
    return found


def number_of(connection: sa.Connection, queue_name: str) -> int:
    """The number of a queue.

    Raises:
        QueueNotFoundError: no queue has this name.
    """
    query = sa.select(_queue.c.number).where(is_called(queue_name))
    found = connection.execute(query).scalar()
    if found is None:
        raise unknown(connection, queue_name)
    return found


def is_called(queue_name: str) -> sa.ColumnElement[bool]:
    """The condition that finds a queue."""
    return _queue.c.name == queue_name if is_storable(queue_name) else sa.false()


def one_queue(connection: sa.Connection, queue_name: str) -> Queue:
    """A queue and how many tasks are in it.

    Raises:
        QueueNotFoundError: no queue has this name.
    """
    number = number_of(connection, queue_name)
    count = sa.select(sa.func.count()).select_from(_task).where(_task.c.queue == number)
    return Queue(queue_name, connection.execute(count).scalar_one())


def unknown(connection: sa.Connection, queue_name: str) -> BoardError:
    """The error that no queue has a name, with the names that there are."""
    names = connection.execute(sa.select(_queue.c.name).order_by(_queue.c.number)).scalars()
    return QueueNotFoundError(queue_name, names)


def end_of(queue: int) -> sa.ScalarSelect[int]:
    """The place after all others of a queue."""
    # Under another name: within an UPDATE of the table it would be taken for the updated row.
    other = _task.alias()
    last = sa.select(sa.func.coalesce(sa.func.max(other.c.place), 0) + 1)
    return last.where(other.c.queue == queue).scalar_subquery()
