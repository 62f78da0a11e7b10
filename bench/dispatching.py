"""Throughput: a queue full of tasks, through ours, through Prefect's own worker, and the floor."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from athanore import names
from bench.rig import (
    APP,
    DONE,
    NOTHING,
    PROGRAMS,
    App,
    Board,
    Prefect,
    Rig,
    RouteOptions,
    athanore,
)
from bench.rig import seconds_between as between
from bench.table import Row
from tests.support import wait_until

_FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REQUEST = re.compile(r'HTTP Request: (\w+) https?://[^/]+/api(\S*) "')
_PAUSE = re.compile(r"again in ([\d.]+) ?s|made in ([\d.]+) ?s")


def dispatch(app: App, count: int) -> float:
    """Have so many tasks worked on; returns the seconds per task, from the poll to the last end."""
    done = app.board.in_queue(DONE)
    edited = datetime.now(UTC).isoformat()
    ids = set(app.board.add("Todo", count))  # which has the queue polled
    wait_until(f"{count} tasks are done", lambda: app.board.in_queue(DONE) == done + count, 600)
    ours: list[str] = []
    for task_ids in _chunks(sorted(ids), 40):
        runs = wait_until("the runs have ended", lambda t=task_ids: _ended(app.prefect, t), 60)
        assert runs is not None
        ours += runs
    polls = app.prefect.runs("poll", start_time={"after_": edited})
    began = min(poll["start_time"] for poll in polls if poll["start_time"])
    return between(began, max(ours)) / count


def _ended(prefect: Prefect, task_ids: list[str]) -> list[str] | None:
    tags = {"all_": [f"app:{prefect.app}"], "any_": [f"task:{i}" for i in task_ids]}
    runs = prefect.post("/flow_runs/filter", {"flow_runs": {"tags": tags}, "limit": 200})
    if any(r["state_type"] not in _FINAL for r in runs):
        return None
    states = Counter(r["state_type"] for r in runs)
    assert states == {"COMPLETED": len(task_ids)}, f"the runs ended in {states}"
    return [r["end_time"] for r in runs]


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def throughput(rig: Rig) -> Iterator[Row]:
    """Ours on PostgreSQL beside the floor, beside the stock worker, and on SQLite."""
    sizes = rig.sizes
    ours: list[float] = []
    floors: list[float] = []
    log = ""
    cpu: dict[str, list[float]] = {"server": [], "worker": [], "server_for_floor": []}
    with rig.app("dispatch") as app:
        dispatch(app, min(5, sizes.tasks))
        for _ in range(sizes.rounds):
            before = rig.server_cpu_seconds()
            floors.append(_floor(rig))
            between_them, worker = rig.server_cpu_seconds(), app.cpu_seconds()
            logged = len(app.log.read_text())
            ours.append(dispatch(app, sizes.tasks))
            log = app.log.read_text()[logged:]
            cpu["server_for_floor"].append((between_them - before) / sizes.tasks)
            cpu["server"].append((rig.server_cpu_seconds() - between_them) / sizes.tasks)
            cpu["worker"].append((app.cpu_seconds() - worker) / sizes.tasks)
    per_task, floor = median(ours), median(floors)
    spent = {k: round(median(v), 4) for k, v in cpu.items()}
    figures = {"seconds_per_task": ours, "floor_seconds_per_run": floors, "cpu_per_task": spent}
    database = "PostgreSQL" if rig.has_postgres else "SQLite: no PostgreSQL is there"
    rig.say("Prefect's process worker")
    stock = _stock(rig)
    yield Row(
        "dispatch",
        f"dispatch, {sizes.tasks} tasks, {sizes.slots} slots, {database}, against Prefect's "
        f"process worker ({sizes.stock_tasks} of the same runs there, without its waits for work)",
        "15 times faster",
        f"{stock / per_task:.1f} times: {per_task:.3f} s a task, {stock:.2f} s there",
        stock / per_task >= 15,
        {**figures, "stock_seconds_per_task": stock},
    )
    yield Row(
        "dispatch",
        "the same, against the floor: direct calls of an equal flow that starts the same program",
        "at most 1.4 times the floor",
        f"{per_task / floor:.2f} times: {per_task:.3f} s a task, floor {floor:.3f} s "
        f"(CPU a task: server {spent['server']:.3f} s, worker {spent['worker']:.3f} s)",
        per_task / floor <= 1.4,
        figures,
    )
    loop = _loop(rig)
    yield Row(
        "dispatch",
        "the same by a plain loop in Python over the same board (`bench/programs/loop.py`): no "
        "retries, timeouts, recovery, logs or pages",
        "",
        f"{loop:.4f} s a task; Athanore takes {per_task - loop:.3f} s more",
        None,
        {"seconds_per_task": loop},
    )
    yield _requests(log, sizes.tasks)
    yield _on_sqlite(rig, per_task)


def _on_sqlite(rig: Rig, postgres: float) -> Row:
    figures: list[float] = []
    with rig.app("sqlite", sqlite=True) as app:
        dispatch(app, min(5, rig.sizes.tasks))
        for _ in range(rig.sizes.sqlite_rounds):
            figures.append(dispatch(app, rig.sizes.tasks))
        pauses = [float(a or b) for a, b in _PAUSE.findall(app.log.read_text())]
    per_task, longest = median(figures), max(pauses, default=0.0)
    return Row(
        "dispatch",
        f"the same on the embedded SQLite, {rig.sizes.tasks} tasks",
        "at least half of PostgreSQL's rate; no back-off of 2 s",
        f"{postgres / per_task:.2f} of the rate: {per_task:.3f} s a task; "
        f"{len(pauses)} back-offs, the longest {longest:.2f} s",
        postgres / per_task >= 0.5 and longest < 2,
        {"seconds_per_task": figures, "back_offs": len(pauses), "longest_back_off": longest},
    )


def _floor(rig: Rig) -> float:
    env = rig.environment(rig.folder / "client") | {"PREFECT_API_URL": rig.server}
    count, slots = str(rig.sizes.tasks), str(rig.sizes.slots)
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "floor.py"), count, slots, NOTHING],
        env=env, cwd=rig.folder, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return float(done.stdout) / rig.sizes.tasks


def _loop(rig: Rig) -> float:
    """A plain loop over a board of its own; returns the seconds per task."""
    board = Board(rig.folder / f"{rig.name('loop')}.json", ["Todo", "In Progress", DONE])
    board.add("Todo", rig.sizes.tasks)
    command = [sys.executable, str(PROGRAMS / "loop.py"), str(board.path)]
    done = subprocess.run(
        [*command, str(rig.sizes.slots), NOTHING],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert board.in_queue(DONE) == rig.sizes.tasks
    return float(done.stdout) / rig.sizes.tasks


def _stock(rig: Rig) -> float:
    """Prefect's own process worker with the same deployments; returns the seconds per run.

    The runs are created as the poll does, before the worker starts, and the time is counted from
    the first one's submission, so that none of the worker's waiting for work is in it.
    """
    name, count = rig.name("stock"), rig.sizes.stock_tasks
    env, board = rig.app_environment(
        name, [RouteOptions()], slots=rig.sizes.slots, server=rig.server
    )
    subprocess.run(
        [athanore(), "deploy", APP, "--pool-type", "process"],
        env=env, cwd=rig.folder, capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    prefect = Prefect(rig.server, name)
    deployment = prefect.deployment("run-agent", "Todo")["id"]
    ids: list[str] = []
    for task_id in board.add("Todo", count):
        body = {
            "parameters": {"task_id": task_id},
            "tags": [names.task_tag(task_id)],
            "idempotency_key": names.run_key(name, "Todo", task_id, "first"),
        }
        ids.append(prefect.post(f"/deployments/{deployment}/create_flow_run", body)["id"])
    command = [str(Path(athanore()).with_name("prefect")), "worker", "start"]
    command += ["--type", "process", "--pool", names.agents_pool(name)]
    with rig.process(command, env, name):
        wait_until(
            f"the process worker has run them (see {rig.log_file(name)})",
            lambda: prefect.count(state={"type": {"any_": ["COMPLETED"]}}) == count,
            300,
        )
    states = [prefect.states(i) for i in ids]
    began = min(s["timestamp"] for run in states for s in run if s["type"] == "PENDING")
    ended = max(run[-1]["timestamp"] for run in states)
    prefect.post("/deployments/bulk_delete", {"deployments": {"tags": {"all_": [f"app:{name}"]}}})
    return between(began, ended) / count


def requests(rig: Rig) -> Iterator[Row]:
    """What is sent to Prefect for one agent run, without the rest of `throughput`."""
    count = rig.sizes.counted_tasks
    with rig.app("requests") as app:
        dispatch(app, 2)
        before = len(app.log.read_text())
        dispatch(app, count)
        yield _requests(app.log.read_text()[before:], count)


def _requests(log: str, count: int) -> Row:
    """What was sent to Prefect for one agent run, its share of the poll included."""
    sent = _REQUEST.findall(log)
    kinds = Counter(f"{method} {_UUID.sub('{id}', path.split('?')[0])}" for method, path in sent)
    per_run = {kind: round(n / count, 2) for kind, n in kinds.most_common()}
    return Row(
        "requests",
        f"requests to Prefect for one agent run ({count} tasks, polls included)",
        "",
        f"{sum(per_run.values()):.1f}: " + ", ".join(f"{n:g} {k}" for k, n in per_run.items()),
        None,
        {"per_run": per_run},
    )
