"""A PostgreSQL database for a test session, where a PostgreSQL server runs."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import pytest

SQLITE, POSTGRESQL = "sqlite", "postgresql"

SERVER = os.environ.get("ATHANORE_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/postgres")
"""Where the server is, and a database to connect to while others are created and dropped."""


def is_there() -> bool:
    """Tell whether the PostgreSQL server answers."""
    parts = urlsplit(SERVER)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5432), 2).close()
    except OSError:
        return False
    return True


def require() -> None:
    """Skip the test where there is no PostgreSQL; under CI=true that is a failure."""
    if is_there():
        return
    reason = f"no PostgreSQL answers at {SERVER} (ATHANORE_TEST_POSTGRES)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def database() -> Generator[str]:
    """Create an empty database and drop it at the end; yields its URL for Prefect."""
    name = f"athanore_test_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(f'CREATE DATABASE "{name}"'))
    parts = urlsplit(SERVER)
    try:
        yield f"postgresql+asyncpg://{parts.netloc}/{name}"
    finally:
        asyncio.run(_execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@contextmanager
def schema(database_url: str) -> Generator[str]:
    """Create an empty schema in a database and drop it at the end; yields the URL with it.

    That takes milliseconds, a database of its own half a second.
    """
    name = f"board_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(f"CREATE SCHEMA {name}", database_url))
    try:
        yield f"{database_url}?options=-csearch_path%3D{name}"
    finally:
        asyncio.run(_execute(f"DROP SCHEMA {name} CASCADE", database_url))


async def _execute(statement: str, database_url: str = SERVER) -> None:
    connect: Any = asyncpg.connect  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    connection: Any = await connect(re.sub(r"^postgresql\+\w+", "postgresql", database_url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
