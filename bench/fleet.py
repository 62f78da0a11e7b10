"""Many agents that wait, over several workers: how soon all are there, what waiting costs, and how
soon three workers that are killed are made good."""

from __future__ import annotations

import fcntl
import math
import subprocess
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path

import psutil

from athanore import names
from bench.rig import APP, DONE, Board, Prefect, Rig, RouteOptions, athanore, settle
from bench.table import Row, line
from tests.support import wait_until

_OTHER = "Other"
_BESIDE = 10  # agents that each worker has room for beside its share

# An agent that is the second one of its task at a time cannot have the lock. They wait for another
# lock, which costs the machine nothing.
_AGENT = """\
#!/bin/sh
id="$ATHANORE_TASK_ID"
exec 9>>"{folder}/locks/$id"
flock -n 9 || echo "$id" >>"{folder}/overlaps"
echo "$id $(date +%s.%N)" >>"{folder}/starts"
touch "{folder}/alive/$id.$$"
exec flock --shared "{folder}/hold" true
"""


@dataclass(slots=True)
class Agents:
    """What the agents write down."""

    folder: Path
    command: str = field(init=False)
    _held: TextIOWrapper = field(init=False)

    def __post_init__(self) -> None:
        for name in ("locks", "alive"):
            (self.folder / name).mkdir(parents=True)
        self._held = (self.folder / "hold").open("w")
        fcntl.flock(self._held, fcntl.LOCK_EX)
        script = self.folder / "agent.sh"
        script.write_text(_AGENT.format(folder=self.folder))
        self.command = f"sh {script}"

    def let_go(self) -> None:
        """Let all agents end, also those that come late."""
        self._held.close()

    def starts(self) -> list[tuple[str, float]]:
        """Each start's task and time."""
        file = self.folder / "starts"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(task, float(when)) for task, when in (text.split() for text in lines)]

    def overlaps(self) -> int:
        file = self.folder / "overlaps"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def living(self) -> int:
        """How many agents there are. The number of one that has ended may be another process's."""
        pids = {int(file.name.rpartition(".")[2]) for file in (self.folder / "alive").iterdir()}
        return sum(map(self._is_agent, pids & set(psutil.pids())))

    def _is_agent(self, pid: int) -> bool:
        with suppress(psutil.Error):
            return str(self.folder) in " ".join(psutil.Process(pid).cmdline())
        return False


@dataclass(slots=True)
class Fleet:
    """Workers of one app at work."""

    agents: Agents
    board: Board
    prefect: Prefect
    processes: list[subprocess.Popen[bytes]]
    logs: list[Path]

    def requests(self) -> int:
        """How many requests the workers have sent to Prefect."""
        return sum(log.read_text().count("HTTP Request") for log in self.logs if log.exists())

    def memory(self) -> float:
        """Megabytes that a worker has."""
        alive = [psutil.Process(p.pid) for p in self.processes if p.poll() is None]
        return sum(p.memory_info().rss for p in alive) / len(alive) / 1e6

    def made(self, queue: str) -> int:
        """How many runs a route has."""
        tags = [f"app:{self.prefect.app}", "agent-run", names.route_tag(queue)]
        return self.prefect.post("/flow_runs/count", {"flow_runs": {"tags": {"all_": tags}}})


@dataclass(frozen=True, slots=True)
class Start:
    """How agents were started.

    Attributes:
        first_seconds, all_seconds: until the first one was, and until all were.
        seen_seconds: until another card that came meanwhile had its run.
        server_cpu: seconds of CPU that the Prefect server needed until all were.
    """

    first_seconds: float
    all_seconds: float
    seen_seconds: float
    server_cpu: float


@contextmanager
def _workers(rig: Rig, count: int, workers: int, killed: int) -> Generator[Fleet]:
    """So many workers, with room for all agents also when some of them are killed."""
    name = rig.name("fleet")
    agents = Agents(rig.folder / f"{name}-agents")
    routes = [RouteOptions(command=agents.command), RouteOptions(_OTHER, command=agents.command)]
    env, board = rig.app_environment(name, routes, slots=count + _BESIDE, server=rig.server)
    prefect = Prefect(rig.server, name)
    subprocess.run(
        [athanore(), "deploy", APP], env=env, cwd=rig.folder, check=True, capture_output=True,
        timeout=180,
    )  # fmt: skip
    limit = math.ceil(count / max(1, workers - killed)) + _BESIDE
    processes: list[subprocess.Popen[bytes]] = []
    logs: list[Path] = []
    with ExitStack() as stack:
        for number in range(workers):
            logs.append(rig.folder / f"{name}-{number}.http")
            own = env | {"BENCH_LOG": str(logs[-1])}
            command = [athanore(), "worker", APP, "--limit", str(limit)]
            processes.append(stack.enter_context(rig.process(command, own, f"{name}-{number}")))
        wait_until(f"{workers} workers are there", lambda: rig.workers(env) == workers, 300)
        wait_until("the routes were polled", lambda: prefect.count("poll") > 0, 120)
        yield Fleet(agents, board, prefect, processes, logs)
    tags = {"all_": [f"app:{name}"]}
    prefect.post("/deployments/bulk_delete", {"deployments": {"tags": tags}})


def fleet(rig: Rig) -> Iterator[Row]:
    """A hundred agents a worker, more and more of both; at the most, what else there is to see."""
    points: list[tuple[int, float]] = []
    most = rig.sizes.fleet[-1]
    for count, workers in rig.sizes.fleet:
        killed = min(rig.sizes.fleet_killed, workers - 1) if (count, workers) == most else 0
        with _workers(rig, count, workers, killed) as at_work:
            start = _start(rig, at_work, count, workers)
            points.append((count, start.all_seconds))
            if (count, workers) == most:
                yield _started(rig, count, workers, start)
                yield _start_cost(at_work, count, workers, start)
                yield _waiting(rig, at_work, count, workers)
            if killed:
                lost, good = _killed(at_work, count, killed)
                yield _made_good(at_work, count, killed, lost, good)
            else:
                _end(at_work, count)
    if len(points) < 2:
        return
    slope, base = line([(float(x), y) for x, y in points])
    measured = ", ".join(
        f"{n} over {w}: {s:.1f} s" for (n, s), (_, w) in zip(points, rig.sizes.fleet, strict=True)
    )
    yield Row(
        "fleet",
        "growth with agents and workers, until all have started",
        "",
        f"{slope:.3g} s for each agent, and {base:.3g} s at none (measured {measured})",
        None,
        {"points": points, "slope": slope, "intercept": base},
    )


def _start(rig: Rig, at_work: Fleet, count: int, workers: int) -> Start:
    """Add as many tasks, and another one when half of them have started."""
    rig.say(f"{count} agents over {workers} workers")
    began, cpu = time.time(), rig.server_cpu_seconds()
    at_work.board.add("Todo", count)
    wait_until("half of them have started", lambda: len(at_work.agents.starts()) >= count / 2, 1800)
    added = time.time()
    at_work.board.add(_OTHER)
    wait_until("the other card is seen", lambda: at_work.made(_OTHER) > 0, 600)
    seen = time.time() - added
    wait_until("all have started", lambda: len(at_work.agents.starts()) >= count + 1, 1800)
    cpu = rig.server_cpu_seconds() - cpu
    times = sorted(when for _, when in at_work.agents.starts())
    return Start(times[0] - began, times[count - 1] - began, seen, cpu)


def _started(rig: Rig, count: int, workers: int, start: Start) -> Row:
    first, all_started = start.first_seconds, start.all_seconds
    return Row(
        "fleet",
        f"{count:,} agents over {workers} workers, from the write of the board's file until the "
        "first and until all have started; and until another card that comes meanwhile is seen",
        "the first within 3 s, 1,000 over 10 within 150 s",
        f"{first:.1f} s, {all_started:.0f} s; {start.seen_seconds:.1f} s",
        (first < 3 and all_started < 150) if rig.has_postgres else None,
        {
            "first_seconds": first,
            "all_seconds": all_started,
            "seen_seconds": start.seen_seconds,
        },
    )


def _start_cost(at_work: Fleet, count: int, workers: int, start: Start) -> Row:
    polls = [run["total_run_time"] for run in at_work.prefect.runs("poll")]
    took = Counter(run["labels"].get("athanore.worker", "") for run in at_work.prefect.runs())
    each, poll = start.server_cpu / count, max(polls)
    return Row(
        "fleet",
        f"what it costs to start {count:,} agents over {workers} workers: the Prefect server's "
        "CPU, the longest poll; and how many agents a worker took",
        "",
        f"{each:.2f} s of the server's CPU an agent, {start.server_cpu / start.all_seconds:.2f} of "
        f"a core; a poll took {poll:.1f} s; {min(took.values())} to {max(took.values())} agents on "
        f"{len(took)} workers",
        None,
        {
            "server_cpu_seconds": start.server_cpu,
            "server_cpu_an_agent": each,
            "longest_poll_seconds": poll,
            "agents_of_workers": sorted(took.values()),
        },
    )


def _waiting(rig: Rig, at_work: Fleet, count: int, workers: int) -> Row:
    settle(rig.sizes.settle_seconds)
    began, cpu, requests = time.monotonic(), rig.server_cpu_seconds(), at_work.requests()
    settle(rig.sizes.fleet_seconds)
    seconds = time.monotonic() - began
    share = (rig.server_cpu_seconds() - cpu) / seconds
    rate = (at_work.requests() - requests) / seconds
    memory = at_work.memory()
    return Row(
        "fleet",
        f"while {count:,} agents wait on {workers} workers: the Prefect server's CPU, requests to "
        "it, and the memory of a worker",
        "below 0.3 of a core",
        f"{share:.2f} of a core, {rate:.1f} requests a second, {memory:.0f} MB a worker",
        share < 0.3,
        {"server_cpu_share": share, "requests_per_second": rate, "worker_mb": memory},
    )


def _killed(at_work: Fleet, count: int, killed: int) -> tuple[int, float]:
    """Kill some workers; returns how many agents that took along, and how soon all are back."""
    for process in at_work.processes[:killed]:
        process.kill()
        process.wait(30)
    began = time.monotonic()
    lowest = count + 1

    def back() -> bool:
        nonlocal lowest
        living = at_work.agents.living()
        lowest = min(lowest, living)
        return living == count + 1 and len(at_work.agents.starts()) > count + 1

    wait_until("the agents of the workers that were killed are back", back, 1800, every=1)
    good = time.monotonic() - began
    return count + 1 - lowest, good


def _end(at_work: Fleet, count: int) -> None:
    """Let all agents end."""
    at_work.agents.let_go()
    wait_until("all tasks are done", lambda: at_work.board.in_queue(DONE) == count + 1, 1800)


def _made_good(at_work: Fleet, count: int, killed: int, lost: int, good: float) -> Row:
    _end(at_work, count)
    starts = Counter(task for task, _ in at_work.agents.starts())
    again = sum(starts.values()) - count - 1
    wait_until("no agent is left", lambda: at_work.agents.living() == 0, 60, every=1)
    missing, overlaps = count + 1 - len(starts), at_work.agents.overlaps()
    often = sum(number > 2 for number in starts.values())
    return Row(
        "fleet",
        f"{killed} of these workers are killed while all agents wait: until their agents are at "
        "work elsewhere; and what went wrong in all of it",
        "none lost, none doubled",
        f"{good:.0f} s, {again} agents started again (at least {lost} were gone); lost {missing}, "
        f"two of a task at once {overlaps}, started more than once again {often}",
        missing == overlaps == often == 0,
        {"seconds": good, "again": again, "lost": missing, "overlaps": overlaps, "often": often},
    )
