"""The board in a SQL database: SQLite for one machine, PostgreSQL for any number of hosts."""

from athanore.queue_adapters.sql.board import SqlBoard

__all__ = ["SqlBoard"]
