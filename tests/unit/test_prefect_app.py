"""The writers of the embedded SQLite pass one after the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

from athanore.launch.prefect.prefect_app import QueuedSqlite

pytestmark = pytest.mark.smoke

_WRITERS = 8


async def _write_after_reading(config: AioSqliteConfiguration) -> None:
    """Do what most requests to Prefect do: read, think, write."""
    session = await config.session(await config.engine())
    async with session, config.begin_transaction(session):
        count = (await session.execute(sa.text("SELECT count FROM counter"))).scalar_one()
        await asyncio.sleep(0.01)
        await session.execute(sa.text("UPDATE counter SET count = :n"), {"n": count + 1})


async def _count(config: AioSqliteConfiguration) -> int:
    engine = await config.engine()
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE counter (count INTEGER)"))
        await connection.execute(sa.text("INSERT INTO counter VALUES (0)"))
    await asyncio.gather(*(_write_after_reading(config) for _ in range(_WRITERS)))
    async with engine.connect() as connection:
        return (await connection.execute(sa.text("SELECT count FROM counter"))).scalar_one()


async def test_writers_wait_for_one_another(tmp_path: Path) -> None:
    assert await _count(QueuedSqlite(f"sqlite+aiosqlite:///{tmp_path}/ours.db")) == _WRITERS


async def test_prefect_still_needs_that(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="database is locked"):
        await _count(AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/prefect.db"))


async def test_a_transaction_within_a_transaction_does_not_wait_for_itself(tmp_path: Path) -> None:
    config = QueuedSqlite(f"sqlite+aiosqlite:///{tmp_path}/nested.db")
    outer = await config.session(await config.engine())
    inner = await config.session(await config.engine())
    async with asyncio.timeout(60), outer, inner, config.begin_transaction(outer):
        await outer.execute(sa.text("SELECT 1"))
        async with config.begin_transaction(inner):
            assert (await inner.execute(sa.text("SELECT 2"))).scalar_one() == 2


async def test_a_session_within_a_transaction_reads_beside_it(tmp_path: Path) -> None:
    """Prefect reads so when a work queue is paused: in a session of its own, without a transaction.

    It must not begin as a writer, for that one would wait for the transaction around it.
    """
    config = QueuedSqlite(f"sqlite+aiosqlite:///{tmp_path}/reader.db")
    assert await _count(config) == _WRITERS
    outer = await config.session(await config.engine())
    inner = await config.session(await config.engine())
    async with asyncio.timeout(60), outer, inner, config.begin_transaction(outer):
        await outer.execute(sa.text("UPDATE counter SET count = 0"))
        read = await inner.execute(sa.text("SELECT count FROM counter"))
        assert read.scalar_one() == _WRITERS


async def test_a_task_that_outlives_the_transaction_that_started_it_waits_its_turn(
    tmp_path: Path,
) -> None:
    """Prefect starts tasks when it commits; what they write later is a transaction like others."""
    config = QueuedSqlite(f"sqlite+aiosqlite:///{tmp_path}/later.db")
    assert await _count(config) == _WRITERS
    begun = asyncio.Event()

    async def later() -> None:
        await begun.wait()
        await asyncio.gather(*(_write_after_reading(config) for _ in range(_WRITERS)))

    session = await config.session(await config.engine())
    async with session, config.begin_transaction(session):
        task = asyncio.create_task(later())
    begun.set()
    await task
    async with (await config.engine()).connect() as connection:
        count = await connection.execute(sa.text("SELECT count FROM counter"))
        assert count.scalar_one() == 2 * _WRITERS
