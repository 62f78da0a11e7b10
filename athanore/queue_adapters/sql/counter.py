"""The change counter of a board in PostgreSQL, which is asked for all the time and rarely read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from athanore.queue_adapters.sql import schema

CONFIRM_EVERY: Final = 5.0
"""Seconds after which the counter is read without a reason: a connection may be dead unnoticed."""

_DEAF_AFTER: Final = 3
"""How many changes in turn may be found without a notification before none are relied on."""


class Counter:
    """Knows how often the board was changed; thread-safe.

    The board's triggers notify of each change (LISTEN/NOTIFY), and whether a notification has come
    is seen without a statement. The counter is read when one has come, after a change of this
    process, and every five seconds. A pooler between us and the server may let no notifications
    through; that is noticed, and then it is read each time.

    Args:
        connect: opens a connection of one's own; each statement on it is a transaction.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self, connect: Callable[[], sa.Connection], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect = connect
        self._now = now
        self._lock = threading.Lock()
        self._connection: sa.Connection | None = None
        self._known = 0
        self._read_at = 0.0
        self._has_changed = False
        self._unheard = 0

    def changed(self) -> None:
        """Note a change of this process: its notification may not have come yet."""
        self._has_changed = True

    def read(self) -> int:
        """Return the number of changes.

        Raises:
            SQLAlchemyError: the server does not answer.
        """
        with self._lock:
            if self._connection is not None:
                try:
                    return self._look(self._connection)
                except (SQLAlchemyError, self._connection.dialect.loaded_dbapi.Error):
                    self._drop()  # it was closed meanwhile
            self._connection = self._connect()
            self._connection.exec_driver_sql(f"LISTEN {schema.CHANNEL}")
            return self._count(self._connection)

    def close(self) -> None:
        """Close the connection; the next look opens another one."""
        with self._lock:
            self._drop()

    def _look(self, connection: sa.Connection) -> int:
        is_told = _has_heard(connection)
        own, self._has_changed = self._has_changed, False
        is_old = self._now() - self._read_at >= CONFIRM_EVERY
        if not (is_told or own or is_old or self._unheard >= _DEAF_AFTER):
            return self._known
        before = self._known
        now = self._count(connection)
        if is_told:
            self._unheard = 0
        elif now != before and not own:
            self._unheard += 1
        return now

    def _count(self, connection: sa.Connection) -> int:
        self._known = connection.execute(sa.select(schema.board.c.changes)).scalar_one()
        self._read_at = self._now()
        return self._known

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _has_heard(connection: sa.Connection) -> bool:
    """Take the notifications that have arrived; this sends nothing and does not wait."""
    driver: Any = connection.connection.driver_connection
    return any([True for _ in driver.notifies(timeout=0)])
