"""Notes in the database of who watches a board's queues."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from athanore.queue_adapters.sql.schema import watcher as table
from athanore.texts import storable


def note(
    connection: sa.Connection, queue_name: str, watcher: str, place: str, valid_for: timedelta
) -> Sequence[str]:
    """Note a watcher of a queue, or take the note away, and return the places of the others.

    Two processes of one watcher may leave two notes at once; the next one replaces both.
    """
    now = int(time.time())
    row = {"queue": storable(queue_name), "watcher": watcher, "place": storable(place)}
    is_ours = sa.and_(table.c.queue == row["queue"], table.c.watcher == watcher)
    connection.execute(sa.delete(table).where(sa.or_(is_ours, table.c.until <= now)))
    if valid_for:
        until = now + int(valid_for.total_seconds())
        connection.execute(sa.insert(table).values(**row, until=until))
    others = sa.select(table.c.place).where(table.c.queue == row["queue"], sa.not_(is_ours))
    return list(connection.execute(others.order_by(table.c.place)).scalars())
