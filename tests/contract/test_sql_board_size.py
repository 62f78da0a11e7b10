"""A board of 100,000 tasks in a database: what a poll and a claim read does not grow with it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.sql import SqlBoard, schema
from tests import postgres

pytestmark = pytest.mark.nightly

READY, DONE = 200, 99_800
INSERT = "INSERT INTO athanore_task (queue, place, name) VALUES (:queue, :place, :name)"


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'board.db'}"
        return
    postgres.require()
    with postgres.database() as url:
        yield url.replace("+asyncpg", "+psycopg")


class Watch:
    """The statements that are sent while it lasts, with their values."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def __enter__(self) -> list[tuple[str, Any]]:
        event.listen(sa.Engine, "before_cursor_execute", self._note)
        return self.sent

    def __exit__(self, *_: object) -> None:
        event.remove(sa.Engine, "before_cursor_execute", self._note)

    def _note(self, _c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "athanore_" in statement:
            self.sent.append((statement, values))


def plans(engine: sa.Engine, sent: list[tuple[str, Any]]) -> str:
    """How the database would do some statements."""
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    with engine.connect() as connection:
        return "\n".join(
            " ".join(map(str, row))
            for statement, values in sent
            for row in connection.exec_driver_sql(explain + statement, values)
        )


def test_a_poll_and_a_claim_read_what_they_are_about_and_no_more(address: str) -> None:
    board = SqlBoard(address)
    board.prepare(["Todo", "In Progress", "Done"])
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        queue = sa.select(schema.queue.c.number).where(schema.queue.c.name == "Done")
        number = connection.execute(queue).scalar_one()
        rows = [{"queue": number, "place": n, "name": f"Old {n}"} for n in range(DONE)]
        for start in range(0, DONE, 10_000):
            statement = (
                "INSERT INTO athanore_task (queue, place, name) VALUES (:queue, :place, :name)"
            )
            connection.execute(sa.text(statement), rows[start : start + 10_000])
    for n in range(READY):
        board.create_task("Todo", f"Task {n}")
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")

    with Watch() as sent:
        ready = board.get_ready_tasks(["Todo", "In Progress"])
    assert [task.name for task in ready] == [f"Task {n}" for n in range(READY)]
    assert len(sent) == 2, "the queues and their tasks"
    assert_small(plans(engine, sent))

    with Watch() as sent:
        claimed = claim_task(board, ready[0].id, source_queue="Todo", target_queue="In Progress")
    assert claimed.queue_name == "In Progress"
    assert len(sent) <= 10
    assert_small(plans(engine, [s for s in sent if s[0].startswith(("SELECT", "UPDATE"))]))

    assert {q.name: q.task_count for q in board.list_queues()} == {
        "Todo": READY - 1, "In Progress": 1, "Done": DONE,
    }  # fmt: skip
    assert len(board.get_ready_tasks(["Done"])) == DONE
    engine.dispose()
    board.close()


def assert_small(plan: str) -> None:
    """Tell from a plan that the table of tasks is read by an index."""
    assert "Seq Scan on athanore_task" not in plan, plan
    assert "SCAN athanore_task" not in plan, plan
    assert "athanore_task" in plan
