"""What stays in the embedded database: of idle routes over an hour, and of each finished task."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil

from athanore.launch.prefect.server_process import EVENTS_THAT_REPEAT
from bench.dispatching import dispatch
from bench.rig import PROGRAMS, App, Rig, RouteOptions, settle
from bench.table import Row, line

_INTERVAL = 10.0
_OUTPUT = 8_000

# 8 kB of output, as an agent writes it: a hundred lines.
_SPEAKER = f"""\
#!/bin/sh
i=0
while [ $i -lt 100 ]; do
    echo "{"x" * (_OUTPUT // 100 - 1)}"
    i=$((i + 1))
done
"""


def database_bytes(home: Path) -> int:
    """The pages in use of the SQLite database in a PREFECT_HOME, those in its log included."""
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        return _bytes(database)


def _bytes(database: sqlite3.Connection) -> int:
    pages, size, free = (
        database.execute(f"PRAGMA {p}").fetchone()[0]
        for p in ("page_count", "page_size", "freelist_count")
    )
    return (pages - free) * size


def _bytes_later(rig: Rig) -> tuple[int, int]:
    """The same of a copy: without the events that the server of `athanore up` keeps for an hour,
    and without all events, which Prefect keeps for a week."""
    copy = rig.folder / "later.db"
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(rig.sqlite_home / "prefect.db")) as database,
        closing(sqlite3.connect(copy)) as later,
    ):
        database.backup(later)
        names = ", ".join(f"'{name}'" for name in EVENTS_THAT_REPEAT)
        gone = f"SELECT id FROM events WHERE event IN ({names})"
        later.execute(f"DELETE FROM event_resources WHERE event_id IN ({gone})")
        later.execute(f"DELETE FROM events WHERE event IN ({names})")
        later.commit()
        later.execute("VACUUM")
        after_an_hour = _bytes(later)
        later.execute("DELETE FROM event_resources")
        later.execute("DELETE FROM events")
        later.commit()
        later.execute("VACUUM")
        return after_an_hour, _bytes(later)


def kept(rig: Rig) -> Iterator[Row]:
    """What a finished task leaves in the database, beside what a run of the floor leaves."""
    count = rig.sizes.kept_tasks
    speaker = rig.folder / "speaks-8-kb.sh"
    speaker.write_text(_SPEAKER)
    speaker.chmod(0o755)
    with rig.app("kept", RouteOptions(command=str(speaker)), sqlite=True) as app:
        dispatch(app, 2)
        now, ours, ours_week = _growth(rig, lambda: dispatch(app, count), count)
        env = rig.environment(rig.folder / "client") | {"PREFECT_API_URL": app.prefect.url}
        command = [sys.executable, str(PROGRAMS / "floor.py"), str(count), "4", str(speaker)]

        def floor() -> None:
            subprocess.run(
                command, env=env, cwd=rig.folder, timeout=600, check=True, capture_output=True
            )

        # The floor's own run that warms it up is among them.
        floor_now, theirs, theirs_week = _growth(rig, floor, count + 1)
    yield Row(
        "kept",
        f"kept in the database for one finished task with {_OUTPUT // 1000} kB of output "
        f"({count} tasks, SQLite), when the events are gone that are kept for an hour; beside a "
        "run of the floor, which keeps no output",
        "at most 1.5 times the floor",
        f"{ours / 1000:.0f} kB, the floor {theirs / 1000:.0f} kB ({ours / theirs:.1f} times); "
        f"in the first hour {now / 1000:.0f} and {floor_now / 1000:.0f} kB, after a week "
        f"{ours_week / 1000:.0f} and {theirs_week / 1000:.0f} kB",
        ours <= 1.5 * theirs,
        {
            "task": ours, "floor": theirs, "task_first_hour": now, "floor_first_hour": floor_now,
            "task_after_a_week": ours_week, "floor_after_a_week": theirs_week,
        },
    )  # fmt: skip


def _growth(rig: Rig, work: Callable[[], object], count: int) -> tuple[float, ...]:
    """Bytes for each of so many runs: at once, after an hour, and after a week."""
    settle(rig.sizes.settle_seconds)
    before = (database_bytes(rig.sqlite_home), *_bytes_later(rig))
    work()
    settle(rig.sizes.settle_seconds)
    after = (database_bytes(rig.sqlite_home), *_bytes_later(rig))
    return tuple((now - then) / count for now, then in zip(after, before, strict=True))


def hour(rig: Rig) -> Iterator[Row]:
    """Idle routes until deletions have long begun: size of the database and memory over time."""
    count, seconds = rig.sizes.idle_routes, rig.sizes.hour_seconds
    options = [RouteOptions(f"Queue {i}", interval=_INTERVAL) for i in range(count)]
    sizes: list[tuple[float, float]] = []
    memory: list[tuple[float, float]] = []
    with rig.app("hour", *options, sqlite=True) as app:
        began, cpu = time.monotonic(), app.cpu_seconds()
        while (passed := time.monotonic() - began) < seconds:
            sizes.append((passed, database_bytes(rig.sqlite_home) / 1e6))
            memory.append((passed, _megabytes(app)))
            time.sleep(min(60.0, seconds / 10))
        share = (app.cpu_seconds() - cpu) / passed
    fifth = len(sizes) // 5
    at_first, at_last = _an_hour(sizes[:fifth]), _an_hour(sizes[-fifth:])
    most = max(s for _, s in sizes)
    yield Row(
        "hour",
        f"{count} routes every {_INTERVAL:g} s for {seconds / 60:.0f} min, nothing ready: size of "
        "the SQLite database",
        "below 100 MB, and it levels off when polls of an hour ago are deleted",
        f"{sizes[-1][1]:.0f} MB at the end, the most {most:.0f} MB; {at_first:+.0f} MB an hour in "
        f"the first fifth, {at_last:+.0f} in the last",
        most < 100 and at_last < at_first / 5,
        {"megabytes": sizes, "share_of_a_core": share},
    )
    yield Row(
        "hour",
        "memory of app and server (resident) in that time",
        "flat",
        f"{memory[1][1]:.0f} MB after a minute, {memory[-1][1]:.0f} MB at the end; "
        f"{_an_hour(memory[-fifth:]):+.0f} MB an hour in the last fifth",
        None,
        {"megabytes": memory},
    )


def _an_hour(points: list[tuple[float, float]]) -> float:
    """By how much something grows in an hour, by a line through (seconds, amount)."""
    return line(points)[0] * 3600 if len(points) > 1 else 0.0


def _megabytes(app: App) -> float:
    total = 0
    for process in [app.process, *app.process.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6
