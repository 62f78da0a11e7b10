"""A board's database: its connections, transactions, and the schema before anything else."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from weakref import finalize

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardBrokenError,
    BoardError,
    BoardUnavailableError,
    ConfigurationError,
)
from athanore.queue_adapters.sql import schema
from athanore.queue_adapters.sql.address import Address
from athanore.queue_adapters.sql.counter import Counter
from athanore.queue_adapters.sql.engines import (
    BEGIN,
    let_readers_pass,
    lone_connection,
    make_engine,
    make_file,
)
from athanore.queue_adapters.sql.faults import translate

_LOCK = 7_280_631_402
"""The advisory lock of PostgreSQL under which the tables are made and changed."""


class Database:
    """The database at an address. Connections are opened when they are needed.

    Thread-safe. Nothing is locked between two calls.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._engine: sa.Engine | None = None
        self._counter: Counter | None = None
        self._is_current = False

    @contextmanager
    def read(self) -> Generator[sa.Connection]:
        """A connection for reading, as of one moment with SQLite.

        Raises:
            BoardError: see `athanore.queue_adapters.base`.
        """
        with self._translated():
            self._check_schema()
            with self.engine().connect() as connection:
                yield connection

    @contextmanager
    def snapshot(self) -> Generator[sa.Connection]:
        """A connection whose readings are all as of one moment.

        Raises:
            BoardError: see `athanore.queue_adapters.base`.
        """
        with self.read() as connection:
            if self.address.file is None:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def write(self) -> Generator[sa.Connection]:
        """A transaction that is committed at the end, and undone by an error.

        Raises:
            AnswerLostError: the connection was lost during the commit.
            BoardError: see `athanore.queue_adapters.base`; nothing was changed.
        """
        with self._translated():
            self._check_schema()
            try:
                with self._writing() as connection:
                    yield connection
            finally:
                if self._counter is not None:
                    self._counter.changed()

    def changes(self) -> int:
        """Return how many transactions have changed the board, whoever made them.

        Raises:
            BoardError: see `athanore.queue_adapters.base`.
        """
        if self.address.file is not None:
            with self.read() as connection:
                return connection.execute(sa.select(schema.board.c.changes)).scalar_one()
        with self._translated():
            self._check_schema()
            return self._counter_of(self.engine()).read()

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Make a board if there is none, or bring its tables up to date.

        Raises:
            ConfigurationError: the database is another program's, of a newer Athanore, or closed
                to us.
            BoardError: it cannot be used now.
        """
        try:
            with self._translated():
                if self.address.file is not None:
                    make_file(self.address.file)
                with self._writing() as connection:
                    self._hold_schema(connection)
                    if self._has_board(connection):
                        self._migrate(connection)
                    else:
                        self._refuse_foreign(connection)
                        schema.create(connection, queue_names)
        except BoardAccessError as exc:
            raise ConfigurationError(str(exc)) from exc
        if self.address.file is not None:
            let_readers_pass(self.address.file)
        self._is_current = True

    def has_board(self) -> bool:
        """Tell whether the board was made."""
        if self.address.file is not None and not self.address.file.exists():
            return False
        with self._translated(), self.engine().connect() as connection:
            return self._has_board(connection)

    def engine(self) -> sa.Engine:
        """The engine; made at the first use.

        Raises:
            ConfigurationError: the driver is missing.
        """
        with self._lock:
            if self._engine is None:
                self._engine = make_engine(self.address)
                finalize(self, self._engine.dispose)
            return self._engine

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens others."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            if self._counter is not None:
                self._counter.close()

    def _counter_of(self, engine: sa.Engine) -> Counter:
        with self._lock:
            if self._counter is None:
                self._counter = Counter(partial(lone_connection, engine))
                finalize(self, self._counter.close)
            return self._counter

    @contextmanager
    def _writing(self) -> Generator[sa.Connection]:
        with self.engine().connect() as connection:
            connection = connection.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
            with connection.begin() as transaction:
                yield connection
                try:
                    transaction.commit()
                except DBAPIError as exc:
                    if not exc.connection_invalidated:
                        raise
                    raise AnswerLostError(
                        f"The connection to the board {self.address.place} was lost while a change "
                        "was confirmed; it may have been made."
                    ) from exc

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except SQLAlchemyError as exc:
            raise self._error(exc) from exc

    def _error(self, exc: SQLAlchemyError) -> BoardError:
        file = self.address.file
        if file is not None and not file.exists():
            return BoardUnavailableError(f"The board {file} cannot be read: it does not exist.")
        return translate(exc, self.address.place, self.address.secrets)

    # --- the schema ---

    def _check_schema(self) -> None:
        """Once a process: bring an older board up to date, and refuse a newer one."""
        if self._is_current:
            return
        with self.engine().connect() as connection:
            version = schema.version_of(connection)
        if version < schema.VERSION:
            with self._writing() as connection:
                self._hold_schema(connection)
                schema.migrate(connection)
        elif version > schema.VERSION:
            raise BoardBrokenError(self._newer(version))
        self._is_current = True

    def _migrate(self, connection: sa.Connection) -> None:
        version = schema.version_of(connection)
        if version > schema.VERSION:
            raise ConfigurationError(self._newer(version))
        schema.migrate(connection)

    def _newer(self, version: int) -> str:
        return (
            f"The board {self.address.place} was made by a newer Athanore (its tables have version "
            f"{version}, this one knows {schema.VERSION}); update this one."
        )

    def _hold_schema(self, connection: sa.Connection) -> None:
        if self.address.file is None:  # a writer of SQLite has the file anyway
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))

    def _has_board(self, connection: sa.Connection) -> bool:
        return schema.board.name in self._tables(connection)

    def _tables(self, connection: sa.Connection) -> list[str]:
        if self.address.file is not None:
            query = (
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        else:
            query = (
                "SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))"
            )
        return sorted(connection.execute(sa.text(query)).scalars())

    def _refuse_foreign(self, connection: sa.Connection) -> None:
        """Refuse the file of another program, and tables with our names that are not ours.

        In PostgreSQL several programs may share a database.
        """
        tables = self._tables(connection)
        if self.address.file is None:
            tables = [name for name in tables if name.startswith("athanore_")]
        if tables:
            shown = ", ".join(tables[:5]) + (", ..." if len(tables) > 5 else "")
            raise ConfigurationError(
                f"The board {self.address.place} is the database of another program, with the "
                f"tables {shown}; name another one."
            )
