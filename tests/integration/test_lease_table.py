"""Who may start an agent, and when, with hosts that have a network and a process table each.

All that may befall a host, of the table in docs/reliability.md, happens at once, each to a host of
its own that works on one task, while one more host has room for all of them. Agents write down when
they are alive, by the clock that all hosts share. `tests/unit/test_lease_table.py` has the rules on
a clock of their own.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest
from psutil import Process

from athanore import JsonFileAdapter
from tests import hosts
from tests.harness import Prefect, app_name
from tests.integration.test_clock import clock_library
from tests.support import clean_environment, free_port, prefect_server, wait_until

CLI = "from athanore.cli import main; main()"
SPARE = "spare"
HOURS = 3

AGENT = """\
#!{python} -IS
import os, pathlib, socket, time
hang = pathlib.Path({hang!r})
own = hang.with_name("ends-" + os.environ["ATHANORE_TASK_ID"])
which = str(time.monotonic_ns())
who = socket.gethostname(), os.environ["ATHANORE_TASK_ID"], which
while True:
    with open({record!r}, "a") as log:
        log.write(" ".join(who) + f" {{time.monotonic()}}\\n")
    if own.exists() or not hang.exists():
        break
    time.sleep(0.2)
"""

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, command={agent!r}, poll_interval=900, max_concurrent_agents=50,
    queue_backend=JsonFileAdapter("board.json"),
)

@dispatcher.route(queue_name="Todo", done_queue="Done")
def work(task_id: str, task_name: str) -> str:
    return task_name
"""

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(2700)]


@dataclass
class Life:
    """An agent: where it was, and when it was alive first and last."""

    host: str
    first: float
    last: float


class Fleet:
    """A folder that all hosts share, with an app, its board and its agents' record."""

    def __init__(self, folder: Path, prefect_api: str, lost_after: float, *tasks: str) -> None:
        self.folder = folder
        self.prefect_api = prefect_api
        self.hang, self.record, self.clock = (folder / n for n in ("hang", "record", "clock"))
        self.hang.touch()
        self.clock.write_bytes(bytes(8))
        self.name = app_name("lease")
        agent = folder / "agent.py"
        agent.write_text(
            AGENT.format(python=sys.executable, hang=str(self.hang), record=str(self.record))
        )
        agent.chmod(0o755)
        (folder / "run.py").write_text(SCRIPT.format(name=self.name, agent=str(agent)))
        todo = [{"id": task, "name": f"Task {task}"} for task in tasks]
        queues = {"Todo": todo, "In Progress": [], "Done": []}
        (folder / "board.json").write_text(json.dumps({"queues": queues}))
        self.board = JsonFileAdapter(folder / "board.json")
        self.env = clean_environment(folder / "home") | {
            "ATHANORE_APP": "run.py:dispatcher", "ATHANORE_API_URL": "http://127.0.0.1:9",
            "ATHANORE_WORKER_LOST_AFTER": str(lost_after),
        }  # fmt: skip

    def athanore(self, *words: str) -> None:
        subprocess.run(
            [sys.executable, "-c", CLI, *words], cwd=self.folder, check=True, timeout=180,
            env=self.env | {"PREFECT_API_URL": self.prefect_api}, capture_output=True,
        )  # fmt: skip

    @contextmanager
    def worker(
        self, host: hosts.Host, limit: int = 1, env: Mapping[str, str] = MappingProxyType({})
    ) -> Generator[Process]:
        """A worker on a host, with room for so many agents."""
        port = urlsplit(self.prefect_api).port
        command = (sys.executable, "-c", CLI, "worker", "--limit", str(limit))
        url = {"PREFECT_API_URL": f"http://{host.hub}:{port}/api"}
        with host.running(*command, cwd=self.folder, env=self.env | url | dict(env)) as process:
            yield process

    def lives(self, task: str) -> list[Life]:
        """The agents that a task has had, in order."""
        found: dict[tuple[str, str], Life] = {}
        for line in self.record.read_text().splitlines() if self.record.exists() else ():
            host, of, which, when = line.split()
            if of == task:
                life = found.setdefault((host, which), Life(host, float(when), float(when)))
                life.last = float(when)
        return sorted(found.values(), key=lambda life: life.first)

    def works(self, task: str, host: str = "") -> bool:
        """Tell whether the newest agent of a task is alive (on a host)."""
        lives = self.lives(task)
        there = bool(lives) and time.monotonic() - lives[-1].last < 5
        return there and host in ("", lives[-1].host)

    def comments(self, task: str) -> list[str]:
        return [c.text for c in self.board.get_task(task).comments]

    def ends(self, task: str) -> None:
        """Let the agent of one task end, and wait until it is dead."""
        (self.folder / f"ends-{task}").touch()
        wait_until(f"the agent of {task} has ended", lambda: not self.works(task))

    def all_done(self, tasks: list[str]) -> None:
        """Let the agents end."""
        self.hang.unlink()
        for task in tasks:
            wait_until(
                f"{task} is done", lambda t=task: self.board.get_task(t).queue_name == "Done"
            )


def signal_all(process: Process, sign: int) -> None:
    for each in (process, *process.children(recursive=True)):
        each.send_signal(sign)


def lasts(seconds: float) -> None:
    """Let something go on for a time."""
    end = time.monotonic() + seconds
    wait_until("the time is over", lambda: time.monotonic() > end, seconds + 60)


LOST = ("dies", "both", "sends", "hears", "refused", "worker", "frozen")
WELL = ("back", "clock")
ENDS = "ends"
"""A host whose agent ends while its link is cut, for a shorter time than a lease."""
FREE = (SPARE, ENDS)
"""The hosts that have room for a task of a lost one."""


@pytest.mark.parametrize("lost_after", [60, 600])
def test_what_may_befall_a_host_and_its_link(
    tmp_path: Path, prefect_api: str, lost_after: float
) -> None:
    hosts.require()
    names = [*LOST, *WELL, ENDS]
    tasks = [str(number) for number in range(len(names))]
    fleet = Fleet(tmp_path, prefect_api, lost_after, *tasks)
    fleet.athanore("deploy")
    for task in tasks:
        fleet.athanore("dispatch", task)
    port = urlsplit(prefect_api).port
    assert port is not None
    preload = {"LD_PRELOAD": clock_library(tmp_path), "CLOCK_AHEAD": str(fleet.clock)}
    with ExitStack() as stack:
        made = stack.enter_context(hosts.hosts(*names, SPARE))
        stack.enter_context(hosts.relayed(port, [host.hub for host in made]))
        host = {h.name: h for h in made}
        worker: dict[str, Process] = {}
        for name in names:
            env: dict[str, str] = preload if name == "clock" else {}
            worker[name] = stack.enter_context(fleet.worker(host[name], env=env))
        wait_until("each host has a task", lambda: all(map(fleet.works, tasks)), 400)
        task_on = {fleet.lives(task)[0].host: task for task in tasks}
        assert set(task_on) == set(names)
        stack.enter_context(fleet.worker(host[SPARE], limit=len(tasks)))
        lasts(min(30, lost_after / 2))
        for task in tasks:
            run = Prefect(prefect_api, fleet.name).run(task)
            assert run["labels"]["athanore.start-id"] == run["state_id"]

        began = time.monotonic()
        worker["dies"].kill()
        host["both"].cut()
        host["sends"].cut(hears=False)
        host["hears"].cut(sends=False)
        host["refused"].refuse()
        worker["worker"].send_signal(signal.SIGSTOP)
        signal_all(worker["frozen"], signal.SIGSTOP)
        host["back"].cut()
        host[ENDS].cut()
        fleet.ends(task_on[ENDS])
        with fleet.clock.open("r+b") as clock:  # the same file: it is mapped
            clock.write(struct.pack("=q", HOURS * 3600))
        lasts(lost_after / 3)
        host["back"].connect()
        assert fleet.board.get_task(task_on[ENDS]).queue_name == "In Progress"
        host[ENDS].connect()
        wait_until(
            "what ended in the cut is done",
            lambda: fleet.board.get_task(task_on[ENDS]).queue_name == "Done",
        )
        for name in LOST:
            wait_until(
                f"another host has the task of {name}",
                lambda task=task_on[name]: any(fleet.works(task, h) for h in FREE),
                2 * lost_after + 180,  # time in which Prefect is too busy to answer does not count
            )  # fmt: skip
        for name in ("both", "sends", "hears", "refused"):
            host[name].connect()
        worker["worker"].send_signal(signal.SIGCONT)
        went_on = time.monotonic()
        signal_all(worker["frozen"], signal.SIGCONT)
        lasts(20)
        for name in WELL:
            assert fleet.works(task_on[name], name)
        fleet.all_done(tasks)

    for name in (*WELL, ENDS):
        assert [life.host for life in fleet.lives(task_on[name])] == [name]
        assert fleet.comments(task_on[name]) == []
    for name in LOST:
        first, second = fleet.lives(task_on[name])
        assert first.host == name and second.host in FREE
        assert second.first > began + lost_after - 15, "the last heartbeat was some seconds before"
        late = first.last > second.first
        assert not late or (name == "frozen" and first.last < went_on + 1.5), name
        said = fleet.comments(task_on[name])
        assert said == ["Worker lost; returned to queue, attempt 1."], name


@contextmanager
def own_prefect(folder: Path, port: int) -> Generator[str]:
    with prefect_server(folder, port=port) as url:
        yield url


def never_two(fleet: Fleet, task: str) -> None:
    lives = fleet.lives(task)
    for one, following in pairwise(lives):
        assert one.last < following.first, f"two agents of task {task}: {lives}"


@contextmanager
def one_host_at_work(fleet: Fleet, port: int, home: Path) -> Generator[None]:
    """Host `a` works on task 1, another one has room for it, and Prefect is away meanwhile."""
    with ExitStack() as stack:
        a, spare = stack.enter_context(hosts.hosts("a", SPARE))
        stack.enter_context(hosts.relayed(port, [a.hub, spare.hub]))
        with own_prefect(home, port):
            fleet.athanore("deploy")
            fleet.athanore("dispatch", "1")
            stack.enter_context(fleet.worker(a))
            wait_until("a is at work", lambda: fleet.works("1", "a"))
            stack.enter_context(fleet.worker(spare))
            lasts(20)
        yield


def test_prefect_is_away_for_longer_than_a_lease(tmp_path: Path) -> None:
    hosts.require()
    port, home, lost_after = free_port(), tmp_path / "prefect", 40
    fleet = Fleet(tmp_path, f"http://127.0.0.1:{port}/api", lost_after, "1")
    with one_host_at_work(fleet, port, home):
        away = time.monotonic()
        lasts(lost_after + 10)
        (life,) = fleet.lives("1")
        assert life.last < away + lost_after
        with own_prefect(home, port):
            wait_until("the task has another agent", lambda: len(fleet.lives("1")) > 1)
            fleet.all_done(["1"])
    never_two(fleet, "1")
    assert fleet.comments("1") == ["Worker was cut off from Prefect; returned to queue, attempt 1."]


def test_prefect_is_away_for_less_than_a_lease(tmp_path: Path) -> None:
    hosts.require()
    port, home, lost_after = free_port(), tmp_path / "prefect", 90
    fleet = Fleet(tmp_path, f"http://127.0.0.1:{port}/api", lost_after, "1")
    with one_host_at_work(fleet, port, home):
        lasts(lost_after / 3)
        with own_prefect(home, port):
            lasts(lost_after + 10)  # whoever took the time away for silence would begin by now
            assert fleet.works("1", "a")
            fleet.all_done(["1"])
    assert [life.host for life in fleet.lives("1")] == ["a"]
    assert fleet.comments("1") == []


def save(database: Path, backup: Path) -> list[tuple[str, str]]:
    """Copy Prefect's database while the server runs; returns the runs and their states in it."""
    with closing(sqlite3.connect(database)) as db, closing(sqlite3.connect(backup)) as copy:
        db.backup(copy)
    with closing(sqlite3.connect(backup)) as copy:
        return copy.execute("SELECT name, state_name FROM flow_run ORDER BY name").fetchall()


def test_prefect_is_restored_from_a_backup(tmp_path: Path) -> None:
    """Task 1 was at work when the backup was made, 2 waited, and 3 was found later."""
    hosts.require()
    port, home = free_port(), tmp_path / "prefect"
    fleet = Fleet(tmp_path, f"http://127.0.0.1:{port}/api", 180, "1", "2")
    backup = tmp_path / "backup.db"
    with ExitStack() as stack:
        made = stack.enter_context(hosts.hosts("a", "b", "c", SPARE))
        stack.enter_context(hosts.relayed(port, [host.hub for host in made]))
        with own_prefect(home, port):
            fleet.athanore("deploy")
            fleet.athanore("dispatch", "1")
            stack.enter_context(fleet.worker(made[0]))
            wait_until("a is at work", lambda: fleet.works("1", "a"))
            fleet.athanore("dispatch", "2")
            saved = save(home / "prefect.db", backup)
            assert [(name, state) for name, state in saved if name.startswith("Task")] == [
                ("Task 1", "Running"),
                ("Task 2", "Scheduled"),
            ]
            stack.enter_context(fleet.worker(made[1]))
            wait_until("b is at work", lambda: fleet.works("2", "b"))
            assert fleet.board.create_task("Todo", "Task 3").id == "3"
            stack.enter_context(fleet.worker(made[2]))
            wait_until("c is at work", lambda: fleet.works("3", "c"))
            stack.enter_context(fleet.worker(made[3], limit=3))
            lasts(20)
        for file in home.glob("prefect.db*"):
            file.unlink()
        shutil.copyfile(backup, home / "prefect.db")
        with own_prefect(home, port):
            for task in ("2", "3"):
                wait_until(
                    f"task {task} has another agent",
                    lambda t=task: len(fleet.lives(t)) > 1 and fleet.works(t),
                )
            assert fleet.works("1", "a")
            fleet.all_done(["1", "2", "3"])
    assert (len(fleet.lives("1")), fleet.comments("1")) == (1, [])
    for task in ("2", "3"):
        never_two(fleet, task)
        (comment,) = fleet.comments(task)
        assert "Prefect" in comment


def test_prefects_own_process_workers(tmp_path: Path, prefect_api: str) -> None:
    """Each run is a process of its own, whose agent has a lease of its own.

    A host that is cut off stops its agent as others do. Nobody sees by itself that a process of
    Prefect's own worker is lost, so that its task waits for an automation, or a person.
    """
    hosts.require()
    lost_after = 60
    fleet = Fleet(tmp_path, prefect_api, lost_after, "1", "2")
    fleet.athanore("deploy", "--pool-type", "process")
    port = urlsplit(prefect_api).port
    assert port is not None
    with ExitStack() as stack:
        made = stack.enter_context(hosts.hosts("a", "b"))
        stack.enter_context(hosts.relayed(port, [host.hub for host in made]))

        def start(host: hosts.Host, pool: str) -> None:
            url = {"PREFECT_API_URL": f"http://{host.hub}:{port}/api"}
            command = (sys.executable, "-m", "prefect", "worker", "start", "--limit", "1")
            env = fleet.env | url
            name = f"{fleet.name}-{pool}"
            stack.enter_context(host.running(*command, "--pool", name, cwd=tmp_path, env=env))

        for host, task in zip(made, ("1", "2"), strict=True):
            start(host, "agents")
            fleet.athanore("dispatch", task)
            wait_until(f"{host.name} is at work", lambda h=host, t=task: fleet.works(t, h.name))
        start(made[1], "polls")
        cut = time.monotonic()
        made[0].cut()
        lasts(lost_after + 20)
        (life,) = fleet.lives("1")
        assert life.last < cut + lost_after
        made[0].connect()
        assert fleet.works("2", "b")
        fleet.all_done(["2"])
    assert len(fleet.lives("1")) == 1
    assert (len(fleet.lives("2")), fleet.comments("2")) == (1, [])
