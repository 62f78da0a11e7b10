"""Many agents at once, and how soon one starts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from bench.dispatching import dispatch
from bench.rig import APP, DONE, App, Rig, RouteOptions, athanore, settle
from bench.table import Row, percentile
from tests.support import wait_until


def memory(rig: Rig) -> Iterator[Row]:
    """What one more waiting agent costs the worker in memory and threads."""
    count = rig.sizes.agents
    per_agent, threads, figures = waiting_agents(rig, [count])
    yield Row(
        "memory",
        f"memory of the worker for one more agent that waits ({count} at once)",
        "below 1 MB, no thread per run",
        f"{per_agent:.2f} MB, {threads} more threads for {count} agents",
        per_agent < 1 and threads < max(4, count // 4),
        {"mb_and_threads_by_agents": figures},
    )


def a_thousand(rig: Rig) -> Iterator[Row]:
    """The same with many more at once, on one worker."""
    few, many = rig.sizes.agents, rig.sizes.thousand
    _, _, measured = waiting_agents(rig, [few, many])
    (less, _), (more, threads) = measured[few], measured[many]
    yield Row(
        "thousand",
        f"memory of one worker for one more agent that waits, {few:,} and {many:,} at once",
        f"below 1 MB, and with {many:,} at most a tenth more than with {few:,}",
        f"{less / few:.2f} MB, {more / many:.2f} MB; {threads} more threads for {many:,} agents",
        more / many < 1 and more / many <= 1.1 * less / few,
        {"mb_and_threads_by_agents": measured},
    )


def waiting_agents(rig: Rig, counts: list[int]) -> tuple[float, int, dict[int, tuple[float, int]]]:
    """Let so many agents wait; returns MB per agent, added threads, and both by count."""
    gate = rig.folder / f"gate-{os.urandom(4).hex()}"
    os.mkfifo(gate)
    routes = [RouteOptions(), RouteOptions("Wait", "cat", str(gate))]
    measured: dict[int, tuple[float, int]] = {}
    with rig.app("memory", *routes, slots=max(counts) + 10) as app:
        dispatch(app, min(20, rig.sizes.tasks))
        settle(3)
        before, threads = app.process.memory_info().rss, app.process.num_threads()
        waiting = 0
        for count in counts:
            app.board.add("Wait", count - waiting)
            waiting = count
            app.prefect.poll("Wait")
            wait_until(f"{count} agents wait", lambda n=count: _programs(app, "cat") == n, 1800)
            settle(3)
            grown = (app.process.memory_info().rss - before) / 1e6
            measured[count] = (grown, app.process.num_threads() - threads)
        _open(gate, app, app.board.in_queue(DONE) + waiting)
    grown, more = measured[max(counts)]
    return grown / max(counts), more, measured


def _programs(app: App, name: str) -> int:
    found = 0
    for child in app.process.children(recursive=True):
        with suppress(psutil.Error):
            found += child.name() == name
    return found


def _open(gate: Path, app: App, done: int) -> None:
    """Let the agents that wait at the gate go, those that come late as well."""

    def let_go() -> bool:
        with suppress(OSError):  # nobody waits there
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        return app.board.in_queue(DONE) == done

    wait_until("the agents have ended", let_go, 1800)


class FirstLines:
    """An agent program whose first line writes down when it ran."""

    def __init__(self, rig: Rig, then: str = "") -> None:
        self.folder = rig.folder / f"first-lines-{os.urandom(4).hex()}"
        self.folder.mkdir()
        script = self.folder / "agent.sh"
        script.write_text(f'date +%s.%N > "{self.folder}/$ATHANORE_TASK_ID.time"\n{then}\n')
        self.command = f"sh {script}"

    def of(self, task_id: str, seconds: float = 90) -> float:
        """Wait for a task's agent; returns when its first line ran."""
        file = self.folder / f"{task_id}.time"
        text = wait_until(
            f"the agent of {task_id} has started",
            lambda: file.exists() and file.read_text(),
            seconds,
        )
        return float(text or 0)

    def any_of(self, seconds: float) -> float:
        """Wait for the first agent of all; returns when its first line ran."""

        def first() -> float:
            return min((float(f.read_text() or 0) for f in self.folder.glob("*.time")), default=0)

        return wait_until("an agent has started", first, seconds) or 0


def latency(rig: Rig) -> Iterator[Row]:
    """From a task's creation or move through the API to its agent's first line."""
    lines = FirstLines(rig)
    route = RouteOptions(command=lines.command, interval=30)
    what = (
        "from a task's creation or move through the API to its agent's first line, poll_interval 30"
    )
    with rig.app("latency", route) as app:
        yield _latency(rig, lines, app, what)
        with rig.process([athanore(), "worker", APP], app.env, rig.name("second")):
            wait_until("two workers are there", lambda: rig.workers(app.env) == 2, 120)
            settle(6)  # in which each has heard of the other
            yield _latency(rig, lines, app, "the same with a second worker beside it")


def _latency(rig: Rig, lines: FirstLines, app: App, what: str) -> Row:
    waits: list[float] = []
    with httpx.Client(base_url=app.api_url, timeout=30, trust_env=False) as api:

        def create(queue: str) -> tuple[float, str]:
            now = time.time()
            answer = api.post("/tasks", json={"queue_name": queue, "name": "A task"})
            return now, answer.raise_for_status().json()["id"]

        def move() -> tuple[float, str]:
            _, task_id = create("Backlog")
            now = time.time()
            answer = api.post(f"/tasks/{task_id}/move", json={"target_queue": "Todo"})
            answer.raise_for_status()
            return now, task_id

        for number in range(rig.sizes.latencies + 1):
            began, task_id = create("Todo") if number % 2 else move()
            if number:  # the first one warms up
                waits.append(lines.of(task_id) - began)
            else:
                lines.of(task_id)
            settle(0.3)
    median, slow = percentile(waits, 0.5), percentile(waits, 0.95)
    return Row(
        "latency",
        what,
        "p95 below 0.3 s",
        f"p50 {median:.2f} s, p95 {slow:.2f} s, of {len(waits)}",
        slow < 0.3,
        {"seconds": waits},
    )


def behind_our_back(rig: Rig) -> Iterator[Row]:
    """From an edit of the board's file to the agent's first line."""
    lines = FirstLines(rig)
    route = RouteOptions(command=lines.command, interval=3600)
    waits: list[float] = []
    with rig.app("edit", route) as app:
        for number in range(rig.sizes.changes + 1):
            (task_id,) = app.board.add("Todo")
            edited = time.time()
            wait = lines.of(task_id) - edited
            if number:  # the first one warms up
                waits.append(wait)
            settle(1.1 + 0.13 * (number % 5))  # the edits fall on all parts of a second
    slow = percentile(waits, 0.95)
    yield Row(
        "edit",
        "the same when the board's file is edited, poll_interval 3600",
        "p95 below 1.5 s",
        f"p50 {percentile(waits, 0.5):.2f} s, p95 {slow:.2f} s, of {len(waits)}",
        slow < 1.5,
        {"seconds": waits},
    )
