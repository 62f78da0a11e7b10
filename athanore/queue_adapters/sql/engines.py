"""Engines: how connections to a board's database are made, and what is set on each."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

from athanore.errors import ConfigurationError
from athanore.queue_adapters.sql.address import Address

BUSY_TIMEOUT = timedelta(seconds=10)
"""How long a change waits for those of others."""

_KEPT, _MORE = 4, 13
"""Connections that are kept, and that may be opened beside them: a process has 16 threads, and one
connection tells it of changes."""

BEGIN = "athanore_begin"
"""The option of a connection that says how its transactions begin, on SQLite."""

_TIMEOUTS = (
    "SELECT set_config('lock_timeout', '10s', false), set_config('statement_timeout', '60s', "
    "false), set_config('idle_in_transaction_session_timeout', '60s', false)"
)
_PSYCOPG = {
    "connect_timeout": 10,
    "client_encoding": "utf8",
    "prepare_threshold": None,  # prepared statements do not go through every pooler
    # Of a server that vanished we hear within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


def make_engine(address: Address) -> sa.Engine:
    """Make the engine of a database; nothing is connected yet.

    Raises:
        ConfigurationError: the driver is missing.
    """
    if address.file is not None:
        return _sqlite_engine(address.file)
    assert address.url is not None
    query = address.url.query
    options = {name: value for name, value in _PSYCOPG.items() if name not in query}
    try:
        engine = sa.create_engine(
            address.url,
            connect_args=options,
            pool_size=_KEPT,
            max_overflow=_MORE,
            pool_pre_ping=True,
            pool_timeout=BUSY_TIMEOUT.total_seconds(),
            hide_parameters=True,
        )
    except ImportError as exc:
        raise ConfigurationError(
            f"The board in the {address.place} needs the driver psycopg, which cannot be imported "
            f'({exc}); beside your clone of Athanore: pip install "./athanore[postgres]"'
        ) from exc

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.execute(_TIMEOUTS)
        connection.commit()

    return engine


def lone_connection(engine: sa.Engine) -> sa.Connection:
    """Open a connection to PostgreSQL to keep; each statement on it is a transaction.

    It is one of the pool's, and must be invalidated before it is closed: nobody else shall have it.

    Raises:
        SQLAlchemyError: the server does not answer, or refuses us.
    """
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _sqlite_engine(file: Path) -> sa.Engine:
    address = f"file:{quote(str(file))}?mode=rw"  # a file that is gone is not made again

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address,
            uri=True,
            timeout=BUSY_TIMEOUT.total_seconds(),
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = sa.create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=_KEPT,
        max_overflow=_MORE,
        pool_timeout=BUSY_TIMEOUT.total_seconds(),
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def remember(_: Any, record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        record.info["file"] = _identity(file)

    @event.listens_for(engine, "checkout")
    def compare(_: Any, record: Any, __: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        if record.info["file"] != _identity(file):
            raise DisconnectionError("the file was replaced")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        # A reader that wants to write when another has written since would be refused at once.
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))

    return engine


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def make_file(file: Path) -> None:
    """Make an empty file where none is; to SQLite that is a database without tables.

    Raises:
        ConfigurationError: it cannot be there; see `check_file`.
    """
    check_file(file)
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError as exc:
        raise ConfigurationError(
            f"The board {file} cannot be made: {exc.strerror or exc}."
        ) from exc


def check_file(file: Path) -> None:
    """Refuse a path that cannot hold a board; nothing is made.

    Raises:
        ConfigurationError: it is no file, its folder is missing, or one of them may not be written.
    """
    folder = file.parent
    if file.is_dir():
        raise ConfigurationError(f"The board {file} is a folder; name a file in it.")
    if not folder.is_dir():
        raise ConfigurationError(
            f"The board {file} needs the folder {folder}, which does not exist; create it, or mend "
            "the path."
        )
    if file.exists() and not file.is_file():
        raise ConfigurationError(f"The board {file} is not a regular file; name another one.")
    for path in (folder, file):  # the folder gets the journal
        if path.exists() and not _may_write(path):
            raise ConfigurationError(
                f"The board {file} cannot be changed: no permission to write {path}; let this user "
                "write it."
            )


def let_readers_pass(file: Path) -> None:
    """Have SQLite write ahead into a journal, so that readers and the writer do not wait.

    The file keeps that. While others use a board that was made a moment ago it may be refused; it
    works without it, and the next start sets it.
    """
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT.total_seconds())) as connection,
    ):
        connection.execute("PRAGMA journal_mode = WAL")


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
