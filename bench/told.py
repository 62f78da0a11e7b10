"""How soon an agent starts when another program, or a tracker's webhook, tells of a task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import sqlalchemy as sa

from athanore.queue_adapters.sql import SqlBoard
from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.linear.server import TOKEN
from bench.agents import FirstLines
from bench.rig import DONE, Rig, RouteOptions, settle
from bench.table import Row, percentile
from tests import postgres

_SECRET = "secret-of-the-webhook"


def webhook(rig: Rig) -> Iterator[Row]:
    """From a signed delivery of a double of Linear to the agent's first line."""
    lines = FirstLines(rig)
    route = RouteOptions(command=lines.command, interval=3600)
    with (
        linear_double() as linear,
        rig.app(
            "webhook",
            route,
            linear={"url": f"{linear.url}/graphql", "token": TOKEN},
            more={"ATHANORE_WEBHOOK_TOKEN": _SECRET},
        ) as app,
        httpx.Client(base_url=app.api_url, timeout=30, trust_env=False) as api,
    ):

        def told(number: int) -> tuple[float, str]:
            row = linear.issue(f"Issue {number}", "Backlog")
            before = {"stateId": row["state"]["id"]}
            linear.move(row["id"], "Todo")
            now = linear.state.issue(row["id"])
            data = {
                "id": now["id"], "teamId": now["team"]["id"], "stateId": now["state"]["id"],
                "updatedAt": now["updatedAt"],
            }  # fmt: skip
            headers, body = linear.delivery("Issue", data, _SECRET, before)
            began = time.time()
            api.post("/webhooks/linear", headers=headers, content=body).raise_for_status()
            return began, str(now["id"])

        waits = _waits(rig, lines, told)
    yield _row(
        "webhook",
        "from the delivery of a webhook (a double of Linear) to the agent's first line, "
        "poll_interval 3600",
        waits,
        aim=3.0,
    )


def database(rig: Rig) -> Iterator[Row]:
    """From another program's INSERT into a board in PostgreSQL to the agent's first line."""
    if not postgres.is_there():
        return
    lines = FirstLines(rig)
    route = RouteOptions(command=lines.command, interval=3600)
    with postgres.database() as address:
        address = address.replace("+asyncpg", "+psycopg")
        board = SqlBoard(address)
        board.prepare(["Todo", "In Progress", DONE, "Backlog"])
        engine = sa.create_engine(address)
        insert = sa.text(
            "INSERT INTO athanore_task (queue, name, place) SELECT number, 'One more', 1 "
            "FROM athanore_queue WHERE name = 'Todo' RETURNING number"
        )

        def told(_: int) -> tuple[float, str]:
            began = time.time()
            with engine.begin() as connection:
                return began, str(connection.execute(insert).scalar_one())

        with rig.app("database", route, sql=address):
            waits = _waits(rig, lines, told)
        engine.dispose()
        board.close()
    yield _row(
        "database",
        "from another program's INSERT into a board in PostgreSQL to the agent's first line, "
        "poll_interval 3600",
        waits,
        aim=1.5,
    )


def _waits(rig: Rig, lines: FirstLines, told: Callable[[int], tuple[float, str]]) -> list[float]:
    waits: list[float] = []
    for number in range(rig.sizes.changes + 1):
        began, task_id = told(number)
        wait = lines.of(task_id) - began
        if number:  # the first one warms up
            waits.append(wait)
        settle(1.1 + 0.13 * (number % 5))  # they fall on all parts of a second
    return waits


def _row(key: str, what: str, waits: list[float], *, aim: float) -> Row:
    slow = percentile(waits, 0.95)
    return Row(
        key,
        what,
        f"p95 below {aim:g} s",
        f"p50 {percentile(waits, 0.5):.2f} s, p95 {slow:.2f} s, of {len(waits)}",
        slow < aim,
        {"seconds": waits},
    )
