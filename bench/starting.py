"""How soon an app is at work after its start, and how soon it is gone after Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.agents import FirstLines
from bench.rig import APP, DONE, Rig, RouteOptions, athanore, settle
from bench.table import Row
from tests.support import wait_until

_HANGS = "trap '' TERM INT HUP\nwhile :; do sleep 1; done"
_MORE = 1.5  # seconds beside the server's


def start(rig: Rig) -> Iterator[Row]:
    """The start until the first poll and until the first agent; and the end, by Ctrl-C."""
    yield _first_poll(rig)
    count = range(rig.sizes.starts)
    cold = [_first_agent(rig, rig.folder / rig.name("cold"))[0] for _ in count]
    warm = [_first_agent(rig, rig.sqlite_home) for _ in count]
    hanging = [_first_agent(rig, rig.sqlite_home, hangs=True)[1] for _ in count]
    firsts, idle = [first for first, _ in warm], [end for _, end in warm]
    yield Row(
        "start",
        "start: `athanore up` until the first line of the agent of a task that is ready, embedded "
        "SQLite: cold (there is no database yet), and warm",
        "",
        f"{median(cold):.1f} s cold, {median(firsts):.1f} s warm",
        None,
        {"cold_seconds": cold, "warm_seconds": firsts},
    )
    yield Row(
        "start",
        "end: from Ctrl-C until `athanore up` and its Prefect server have ended: idle, and with an "
        "agent that ignores SIGTERM (shutdown_grace 0; by default it has 30 s to finish)",
        "",
        f"{median(idle):.1f} s idle, {median(hanging):.1f} s with the agent",
        None,
        {"idle_seconds": idle, "hanging_seconds": hanging},
    )


def _first_poll(rig: Rig) -> Row:
    """From `athanore up` to the first poll, beside the start of the Prefect server alone."""
    times: list[float] = []
    servers: list[float] = []
    home = rig.sqlite_home
    for _ in range(rig.sizes.starts):
        began = time.time()
        with rig.serve(home.name, None):
            servers.append(time.time() - began)
        name = rig.name("start")
        env, _ = rig.app_environment(name, [RouteOptions()], slots=3, server=None, home=home)
        polled = rig.folder / f"{name}.polled"
        began = time.time()
        with rig.process([athanore(), "up", APP], env | {"BENCH_POLLED": str(polled)}, name):
            text = wait_until("the first poll", lambda p=polled: p.exists() and p.read_text(), 180)
            times.append(float(text or 0) - began)
    env = rig.environment(rig.folder / "client")
    prefect = [_run_seconds("import prefect.flows", env) for _ in range(rig.sizes.starts)]
    return Row(
        "start",
        "start: `athanore up` until its first poll, embedded SQLite, warm database",
        f"the Prefect server alone, and {_MORE} s",
        f"{median(times):.1f} s; of that the Prefect server alone {median(servers):.1f} s "
        f"(`import prefect.flows`: {median(prefect):.1f} s)",
        median(times) < median(servers) + _MORE,
        {"seconds": times, "server_seconds": servers, "import_seconds": prefect},
    )


def _run_seconds(code: str, env: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    return time.monotonic() - began


def _first_agent(rig: Rig, home: Path, *, hangs: bool = False) -> tuple[float, float]:
    """The seconds until the first agent's line, and those from Ctrl-C to the end.

    Args:
        hangs: the agent is still there then, and does not end by itself.
    """
    lines = FirstLines(rig, then=_HANGS if hangs else "")
    name = rig.name("first")
    route = RouteOptions(command=lines.command)
    env, board = rig.app_environment(name, [route], slots=3, server=None, home=home)
    board.add("Todo")
    began = time.time()
    with rig.process([athanore(), "up", APP], env, name) as process:
        first = lines.any_of(240) - began
        if not hangs:
            wait_until("the task is done", lambda: board.in_queue(DONE) == 1, 60)
        settle(rig.sizes.settle_seconds)
        assert process.poll() is None, f"{name} has ended (see {rig.log_file(name)})"
        asked = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(180)
        return first, time.monotonic() - asked
