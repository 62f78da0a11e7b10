"""How soon an agent starts when another program, or a tracker's webhook, tells of a task."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import httpx
import sqlalchemy as sa

from athanore.queue_adapters.sql import SqlBoard
from athanore.testing.doubles.github import server as github
from athanore.testing.doubles.gitlab import server as gitlab
from athanore.testing.doubles.jira import server as jira
from athanore.testing.doubles.linear import server as linear
from athanore.testing.doubles.planka import server as planka
from athanore.testing.doubles.signing import Delivery
from bench.agents import FirstLines
from bench.rig import DONE, Rig, RouteOptions, settle
from bench.table import Row, percentile
from tests import postgres

_SECRET = "secret-of-the-webhook"


@dataclass(frozen=True)
class Tracker:
    """A double, and what its webhook tells.

    Attributes:
        board: what the board of the app is given.
        tell: makes a task in the queue Todo; returns its id, and the delivery that tells of it.
    """

    board: Mapping[str, str]
    tell: Callable[[str], tuple[str, Delivery]]


@contextmanager
def _github() -> Generator[Tracker]:
    with github.github_double() as double:

        def tell(name: str) -> tuple[str, Delivery]:
            number = double.issue(name, "agent:Todo")["number"]
            return str(number), double.delivery(number, _SECRET, label="agent:Todo")

        token = github.TOKEN
        yield Tracker({"repository": double.repository, "url": double.url, "token": token}, tell)


@contextmanager
def _gitlab() -> Generator[Tracker]:
    with gitlab.gitlab_double() as double:

        def tell(name: str) -> tuple[str, Delivery]:
            iid = double.issue(name, "agent::Todo")["iid"]
            return str(iid), double.delivery(iid, _SECRET)

        token = gitlab.TOKEN
        yield Tracker({"project": double.state.path, "url": double.url, "token": token}, tell)


@contextmanager
def _jira() -> Generator[Tracker]:
    with jira.jira_double() as double:

        def tell(name: str) -> tuple[str, Delivery]:
            key = double.issue(name, "Todo")["key"]
            return key, double.delivery(key, _SECRET)

        account = {"email": jira.EMAIL, "token": jira.TOKEN}
        yield Tracker({"url": double.url, "project": double.state.key, **account}, tell)


@contextmanager
def _linear() -> Generator[Tracker]:
    with linear.linear_double() as double:

        def tell(name: str) -> tuple[str, Delivery]:
            row = double.issue(name, "Todo")
            return row["id"], double.issue_delivery(row["id"], _SECRET, "Backlog")

        url = f"{double.url}/graphql"
        yield Tracker({"team": double.state.key, "url": url, "token": linear.TOKEN}, tell)


@contextmanager
def _planka() -> Generator[Tracker]:
    with planka.planka_double() as double:

        def tell(name: str) -> tuple[str, Delivery]:
            row = double.card("Todo", name)
            return row["id"], double.delivery("cardCreate", row, _SECRET)

        yield Tracker({"url": double.url, "token": planka.BOT_KEY}, tell)


TRACKERS: dict[str, Callable[[], AbstractContextManager[Tracker]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "jira": _jira,
    "linear": _linear,
    "planka": _planka,
}


def webhook(kind: str, rig: Rig) -> Iterator[Row]:
    """From a delivery of the double of a tracker to the agent's first line."""
    lines = FirstLines(rig)
    route = RouteOptions(command=lines.command, interval=3600)
    more = {"ATHANORE_WEBHOOK_TOKEN": _SECRET}
    with (
        TRACKERS[kind]() as tracker,
        rig.app("webhook", route, tracker={"kind": kind, **tracker.board}, more=more) as app,
        httpx.Client(base_url=app.api_url, timeout=30, trust_env=False) as api,
    ):

        def told(number: int) -> tuple[float, str]:
            task_id, (headers, body) = tracker.tell(f"Issue {number}")
            began = time.time()
            api.post(f"/webhooks/{kind}", headers=headers, content=body).raise_for_status()
            return began, task_id

        waits = _waits(rig, lines, told)
    yield _row(
        f"webhook-{kind}",
        f"from the delivery of a webhook (a double of {kind.capitalize()}) to the agent's first "
        "line, poll_interval 3600",
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
