"""What is spent while nothing is ready, and what an outage leaves behind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from bench.rig import APP, App, Prefect, Rig, RouteOptions, athanore, cpu_seconds_of, settle
from bench.stays import database_bytes
from bench.table import Row
from tests.support import wait_until

_INTERVAL = 10.0
_DAY = 86_400


def idle(rig: Rig) -> Iterator[Row]:
    """CPU and growth of the database with nothing ready, on the embedded SQLite."""
    count, home = rig.sizes.idle_routes, rig.new_home(rig.name("home"))
    share, figures = idle_share(rig, count, home=home)
    yield Row(
        "idle",
        f"idle: {count} routes polled every {_INTERVAL:g} s, nothing ready; server + worker + API",
        "below 0.08 of one core",
        f"{share:.3f} of one core",
        share < 0.08,
        figures,
    )
    alone, bare = _server_share(rig, home), _server_share(rig, rig.new_home(rig.name("bare")))
    yield Row(
        "idle",
        "beside it: the same server and schedules without a worker; the bare server",
        "",
        f"{alone:.3f} and {bare:.3f} of one core",
        None,
        {"without_a_worker": alone, "bare_server": bare},
    )
    yield Row(
        "idle",
        "growth of the database with that, before polls that found nothing are deleted",
        "",
        f"{figures['mb_per_day']:.0f} MB a day; {figures['kb_per_poll']:.1f} kB a poll",
        None,
    )


def many(rig: Rig) -> Iterator[Row]:
    """The same with many routes, at the default interval."""
    count, interval = rig.sizes.many_routes, 30.0
    share, figures = idle_share(rig, count, interval)
    yield Row(
        "many",
        f"idle: {count} routes polled every {interval:g} s, nothing ready; server + worker + API",
        "below 0.25 of one core",
        f"{share:.2f} of one core",
        share < 0.25,
        figures,
    )


def _server_share(rig: Rig, home: Path) -> float:
    """The share of one core that a Prefect server takes with a database and without a worker."""
    with rig.serve(home.name, None) as (_, process):
        settle(rig.sizes.idle_seconds / 2)
        began, cpu = time.monotonic(), cpu_seconds_of(process)
        settle(rig.sizes.idle_seconds)
        return (cpu_seconds_of(process) - cpu) / (time.monotonic() - began)


def idle_share(
    rig: Rig, routes: int, interval: float = _INTERVAL, home: Path | None = None
) -> tuple[float, dict[str, Any]]:
    """The share of one core that so many idle routes take, on SQLite.

    Args:
        home: the PREFECT_HOME of the server; else one of its own, without others' schedules.
    """
    options = [RouteOptions(f"Queue {i}", interval=interval) for i in range(routes)]
    home = home or rig.new_home(rig.name("home"))
    with rig.app("idle", *options, sqlite=True, home=home) as app:
        settle(rig.sizes.idle_seconds / 2)
        polls, size = app.prefect.count("poll", **_ENDED), database_bytes(home)
        began, cpu = time.monotonic(), app.cpu_seconds()
        by_process = _cpu_by_process(app)
        settle(rig.sizes.idle_seconds)
        cpu, wall = app.cpu_seconds() - cpu, time.monotonic() - began
        now = _cpu_by_process(app)
        ended = app.prefect.count("poll", **_ENDED) - polls
        grown = database_bytes(home) - size
    shares = {k: round((now[k] - by_process.get(k, 0)) / wall, 3) for k in now}
    per_poll = grown / max(1, ended)
    return cpu / wall, {
        "share_of_a_core": cpu / wall,
        "by_process": shares,
        "polls": ended,
        "kb_per_poll": per_poll / 1000,
        "mb_per_day": per_poll * routes * _DAY / interval / 1e6,
    }


_ENDED: dict[str, Any] = {"state": {"type": {"any_": ["COMPLETED"]}}}
_SCHEDULED: dict[str, Any] = {"state": {"type": {"any_": ["SCHEDULED"]}}}


def _cpu_by_process(app: App) -> dict[str, float]:
    found: dict[str, float] = {}
    for process in [app.process, *app.process.children(recursive=True)]:
        times = process.cpu_times()
        what = "server" if "uvicorn" in process.cmdline() else "other"
        what = "worker and API" if process.pid == app.process.pid else what
        found[what] = found.get(what, 0) + times.user + times.system
    return found


def late(rig: Rig) -> Iterator[Row]:
    """An hour of polls that no worker took, and the worker's start after it."""
    if rig.database is None:
        yield Row("late", "late polls", "", "not measured: needs a PostgreSQL of its own", None)
        return
    name, count, seconds = rig.name("late"), rig.sizes.idle_routes, rig.sizes.late_seconds
    routes = [RouteOptions(f"Queue {i}", interval=_INTERVAL) for i in range(count)]
    env, _ = rig.app_environment(name, routes, slots=3, server=rig.server)
    subprocess.run(
        [athanore(), "deploy", APP], env=env, cwd=rig.folder, capture_output=True, timeout=120,
        check=True,
    )  # fmt: skip
    prefect = Prefect(rig.server, name)
    scheduled = wait_until(
        "Prefect has scheduled polls for all routes", lambda: _one_of_each(prefect, count), 120
    )
    assert scheduled is not None
    late_polls = asyncio.run(_make_late(rig.database, scheduled, seconds))
    found = prefect.count("poll", **_SCHEDULED, **_before_now())
    assert found >= late_polls, f"{found} of {late_polls} late polls are there"
    past = _before_now()
    began = time.monotonic()
    polled = rig.folder / f"{name}.polled"
    with rig.process([athanore(), "worker", APP], env | {"BENCH_POLLED": str(polled)}, name):
        wait_until("the first poll", polled.exists, 180)
        first = time.monotonic()
        wait_until("all routes have been polled", lambda: _polled(prefect, past) == count, 120)
        polled_all = time.monotonic()
        waiting = _SCHEDULED | past
        wait_until("no late poll is left", lambda: prefect.count("poll", **waiting) == 0, 300)
        ended = time.monotonic()
        runs = prefect.runs("poll", **_ENDED, **past)
    prefect.post("/deployments/bulk_delete", {"deployments": {"tags": {"all_": [f"app:{name}"]}}})
    most = max(sum(f"route:Queue {i}" in r["tags"] for r in runs) for i in range(count))
    took = polled_all - first
    yield Row(
        "late",
        f"after {seconds // 60} min without a worker ({late_polls:,} late polls), {count} routes",
        "caught up in 10 s, one poll a route",
        f"all polled {took:.1f} s after the first, {polled_all - began:.1f} s after the worker's "
        f"start, {most} late poll{'s' if most > 1 else ''} a route; Prefect had deleted the rest "
        f"after {ended - began:.1f} s",
        took <= 10 and most == 1,
        {
            "seconds": took,
            "from_start": polled_all - began,
            "deleted_from_start": ended - began,
            "polls_a_route": most,
        },
    )


def _before_now() -> dict[str, Any]:
    return {"expected_start_time": {"before_": datetime.now(UTC).isoformat()}}


def _polled(prefect: Prefect, past: dict[str, Any]) -> int:
    """How many routes have had a late poll that has ended."""
    ended = prefect.runs("poll", **_ENDED, **past)
    return len({run["deployment_id"] for run in ended})


def _one_of_each(prefect: Prefect, routes: int) -> list[str] | None:
    """The id of one scheduled poll of each route, when all have one."""
    by_route: dict[str, str] = {}
    for run in prefect.runs("poll", state={"type": {"any_": ["SCHEDULED"]}}):
        by_route[run["deployment_id"]] = run["id"]
    return list(by_route.values()) if len(by_route) == routes else None


async def _make_late(database: str, polls: list[str], seconds: int) -> int:
    """Copy scheduled polls into the past, as Prefect's scheduler had made them; returns how many.

    Straight into the database, because that many requests would take minutes.
    """
    connect: Any = asyncpg.connect  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    connection: Any = await connect(database.replace("+asyncpg", ""))
    now = datetime.now(UTC)
    runs: list[dict[str, Any]] = []
    states: list[dict[str, Any]] = []
    try:
        for poll in polls:
            run = dict(await connection.fetchrow("SELECT * FROM flow_run WHERE id = $1", poll))
            state = dict(
                await connection.fetchrow(
                    "SELECT * FROM flow_run_state WHERE id = $1", run["state_id"]
                )
            )
            for back in range(int(_INTERVAL), seconds + 1, int(_INTERVAL)):
                due = now - timedelta(seconds=back)
                details = json.loads(state["state_details"]) | {"scheduled_time": due.isoformat()}
                new = {
                    "id": uuid4(), "state_id": uuid4(), "idempotency_key": str(uuid4()),
                    "expected_start_time": due, "next_scheduled_start_time": due,
                }  # fmt: skip
                runs.append(run | new)
                states.append(
                    state
                    | {
                        "id": new["state_id"],
                        "flow_run_id": new["id"],
                        "state_details": json.dumps(details | {"flow_run_id": str(new["id"])}),
                    }
                )
        without_states = [r | {"state_id": None} for r in runs]
        await _insert(connection, "flow_run", without_states)
        await _insert(connection, "flow_run_state", states)
        await connection.executemany(
            "UPDATE flow_run SET state_id = $1 WHERE id = $2",
            [(r["state_id"], r["id"]) for r in runs],
        )
    finally:
        await connection.close()
    return len(runs)


async def _insert(connection: Any, table: str, rows: list[dict[str, Any]]) -> None:
    generated = await connection.fetch(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_name = $1 AND is_generated = 'ALWAYS'",
        table,
    )
    columns = [c for c in rows[0] if c not in {g["column_name"] for g in generated}]
    names, places = ", ".join(columns), ", ".join(f"${i + 1}" for i in range(len(columns)))
    await connection.executemany(
        f"INSERT INTO {table} ({names}) VALUES ({places})",
        [[row[c] for c in columns] for row in rows],
    )
