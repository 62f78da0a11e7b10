"""The real parts that are measured: Prefect servers, databases, apps, workers, boards.

Everything lives in one temporary folder and in processes that the reaper stops should the bench
itself be killed; a database in PostgreSQL is made for the run and dropped at its end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil

from athanore.processes.family import Family
from athanore.processes.supervisor import default_reaper
from tests import postgres
from tests.support import clean_environment, free_port, stop_group, wait_until

PROGRAMS = Path(__file__).with_name("programs")
APP = f"{PROGRAMS / 'app.py'}:dispatcher"
DONE = "Done"
NOTHING = "true"
"""The agent program that does nothing."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: the real sizes, or tiny ones for a test of the bench itself."""

    tasks: int = 100
    slots: int = 8
    stock_tasks: int = 6
    rounds: int = 2
    sqlite_rounds: int = 1
    counted_tasks: int = 20
    agents: int = 100
    thousand: int = 1_000
    latencies: int = 24
    changes: int = 20
    idle_routes: int = 10
    idle_seconds: float = 60
    late_seconds: int = 3600
    boards: tuple[int, ...] = (100, 1_000, 10_000)
    claims: int = 40
    starts: int = 1
    reads: int = 500
    comments: int = 100
    lines: int = 60
    growth: tuple[int, ...] = (1, 2, 4)
    kept_tasks: int = 40
    settle_seconds: float = 8
    late_within_seconds: float = 300
    hour_seconds: float = 5_400
    crowd: int = 10_000
    cards: int = 1_000
    many_routes: int = 100
    commands: int = 5
    fleet: tuple[tuple[int, int], ...] = ((100, 1), (300, 3), (1000, 10))
    fleet_killed: int = 3
    fleet_seconds: float = 60


TINY = Sizes(
    tasks=3, slots=2, stock_tasks=1, rounds=1, sqlite_rounds=1, counted_tasks=2, agents=3,
    latencies=2, changes=2, idle_routes=2, idle_seconds=2, late_seconds=60, boards=(10, 20),
    claims=2, starts=1, reads=8, comments=4, lines=3, growth=(1, 2), kept_tasks=2,
    settle_seconds=2, late_within_seconds=0, hour_seconds=10, crowd=30, many_routes=4, commands=1,
    thousand=4, cards=10,
    fleet=((4, 1), (8, 2)), fleet_killed=1, fleet_seconds=5,
)  # fmt: skip


class Prefect:
    """What Prefect's API says of an app."""

    def __init__(self, url: str, app: str) -> None:
        self.url = url
        self.app = app
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST and return the answer; repeated while SQLite is locked."""

        def send() -> httpx.Response | None:
            response = self._http.post(path, json=body)
            return None if response.status_code == 503 else response.raise_for_status()

        response = wait_until(f"Prefect answers POST {path}", send)
        return response.json() if response and response.content else None

    def get(self, path: str, **params: str) -> Any:
        """GET and return the answer."""
        return self._http.get(path, params=params).raise_for_status().json()

    def runs(self, kind: str = "agent-run", **query: Any) -> list[dict[str, Any]]:
        """The app's runs of a kind (`agent-run` or `poll`), page by page."""
        flow_runs = {"tags": {"all_": [f"app:{self.app}", kind]}, **query}
        found: list[dict[str, Any]] = []
        while True:
            body = {"flow_runs": flow_runs, "sort": "ID_DESC", "offset": len(found), "limit": 200}
            page = self.post("/flow_runs/filter", body)
            found += page
            if len(page) < 200:
                return found

    def count(self, kind: str = "agent-run", **query: Any) -> int:
        """How many of the app's runs there are."""
        flow_runs = {"tags": {"all_": [f"app:{self.app}", kind]}, **query}
        return self.post("/flow_runs/count", {"flow_runs": flow_runs})

    def states(self, run_id: str) -> list[dict[str, Any]]:
        """A run's states, oldest first."""
        found = self.get("/flow_run_states/", flow_run_id=run_id)
        return sorted(found, key=lambda s: s["timestamp"])

    def deployment(self, flow: str, queue: str) -> dict[str, Any]:
        """A route's deployment."""
        return self.get(f"/deployments/name/{flow}/{self.app}:{queue}")

    def poll(self, queue: str) -> str:
        """Have a route polled now; returns the id of the poll."""
        deployment = self.deployment("poll-route", queue)["id"]
        return self.post(f"/deployments/{deployment}/create_flow_run", {"name": "asked for"})["id"]


class Board:
    """The file of a board, seen and edited as a person would."""

    def __init__(self, path: Path, queues: list[str]) -> None:
        self.path = path
        self._last = 0
        if not path.exists():
            self._write({"queues": {q: [] for q in queues}})

    def add(self, queue: str, count: int = 1) -> list[str]:
        """Add tasks and return their ids."""
        self._last += count
        ids = [f"{queue[0].lower()}{self._last - i}" for i in reversed(range(count))]
        board = json.loads(self.path.read_bytes())
        board["queues"][queue] += [{"id": i, "name": f"Task {i}"} for i in ids]
        self._write(board)
        return ids

    def keep(self, count: int) -> None:
        """Have so many tasks at most on the board: those at work, and the first ones of Todo."""
        board = json.loads(self.path.read_bytes())
        at_work = len(board["queues"]["In Progress"])
        board["queues"]["Todo"] = board["queues"]["Todo"][: max(0, count - at_work)]
        self._write(board)

    def in_queue(self, queue: str) -> int:
        """How many tasks are in a queue."""
        return len(json.loads(self.path.read_bytes())["queues"][queue])

    def _write(self, board: dict[str, Any]) -> None:
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_text(json.dumps(board, indent=2))
        os.replace(new, self.path)


@dataclass(slots=True)
class App:
    """An app at work in a process of its own."""

    process: psutil.Process
    prefect: Prefect
    board: Board
    api_url: str
    log: Path
    env: dict[str, str]

    def cpu_seconds(self) -> float:
        """CPU time so far of the app and all that it started and that still lives."""
        return cpu_seconds_of(self.process)


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """One route of the app under test; its interval is in seconds."""

    queue: str = "Todo"
    command: str = NOTHING
    prompt: str = ""
    interval: float = 3600


class Rig:
    """Starts parts, and stops them at the end of the stack."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        sizes: Sizes,
        prefect: str | None,
        say: Callable[[str], None],
    ) -> None:
        self.sizes = sizes
        self.folder = folder
        self.say = say
        self._stack = stack
        self._given = prefect
        self._names: dict[str, int] = {}
        self._http = httpx.Client(timeout=2, trust_env=False, verify=False)
        self._server_process: psutil.Process | None = None

    @cached_property
    def has_postgres(self) -> bool:
        """Whether the rows that want PostgreSQL can have it (a given server counts)."""
        return self._given is not None or postgres.is_there()

    @cached_property
    def database(self) -> str | None:
        """The URL of the database in PostgreSQL of this run; None where none is ours."""
        if self._given is not None or not postgres.is_there():
            return None
        return self._stack.enter_context(postgres.database())

    @cached_property
    def server(self) -> str:
        """The API of a Prefect server on PostgreSQL (SQLite where there is none)."""
        if self._given is not None:
            return self._given
        self.say(f"starting a Prefect server on {'PostgreSQL' if self.database else 'SQLite'}")
        url, self._server_process = self._stack.enter_context(self.serve("prefect", self.database))
        return url

    def server_cpu_seconds(self) -> float:
        """CPU time so far of `server`; 0 if it is not ours."""
        if self._server_process is None:
            return 0.0
        return cpu_seconds_of(self._server_process)

    @cached_property
    def sqlite_home(self) -> Path:
        """A PREFECT_HOME whose SQLite database exists already."""
        return self.new_home("sqlite")

    def new_home(self, name: str) -> Path:
        """A PREFECT_HOME with a SQLite database in which nothing is yet."""
        return Path(shutil.copytree(self._empty_home, self.folder / name))

    @cached_property
    def _empty_home(self) -> Path:
        self.say("making a Prefect database in SQLite")
        with self.serve("empty", None):
            pass
        return self.folder / "empty"

    @contextmanager
    def serve(self, home: str, database: str | None) -> Generator[tuple[str, psutil.Process]]:
        """Run the Prefect server that `athanore up` starts; yields its API and who started it."""
        env = self.environment(self.folder / home, database)
        with self.process(
            [sys.executable, str(PROGRAMS / "serve.py")], env, home, stdin=subprocess.PIPE
        ) as process:
            url = f"http://127.0.0.1:{env['PREFECT_SERVER_API_PORT']}/api"
            wait_until("the Prefect server answers", lambda: self._answers(process, url), 180)
            yield url, psutil.Process(process.pid)

    def environment(self, home: Path, database: str | None = None) -> dict[str, str]:
        """An environment with free ports, and with nothing of this machine's settings."""
        env = clean_environment(home) | {
            "PREFECT_SERVER_API_PORT": str(free_port()),
            "ATHANORE_API_PORT": str(free_port()),
            "PYTHONPATH": str(PROGRAMS.parents[1]),
        }
        if database:
            env["PREFECT_API_DATABASE_CONNECTION_URL"] = database
        return env

    @contextmanager
    def process(
        self, command: list[str], env: dict[str, str], name: str, stdin: int = subprocess.DEVNULL
    ) -> Generator[subprocess.Popen[bytes]]:
        """Run a program in the bench's folder; its output goes to a file there."""
        family = Family.new()
        default_reaper().watch(family)
        with self.log_file(name).open("ab") as log:
            process = subprocess.Popen(
                command, env={**env, **family.env}, cwd=self.folder, stdin=stdin, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        default_reaper().watch(family.led_by(process.pid))
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
                process.wait(30)
            stop_group(process, 30)
            default_reaper().release(family)

    def workers(self, env: Mapping[str, str]) -> int:
        """How many workers an app has."""
        said = subprocess.run(
            [athanore(), "workers", "--app", APP, "--json"],
            env=env, cwd=self.folder, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        return len(json.loads(said.stdout))

    def log_file(self, name: str) -> Path:
        """Where a program's output goes."""
        return self.folder / f"{name}.log"

    def name(self, prefix: str) -> str:
        """A name that nothing else has."""
        self._names[prefix] = self._names.get(prefix, 0) + 1
        return f"bench-{os.getpid()}-{prefix}{self._names[prefix]}"

    def app_environment(
        self,
        name: str,
        routes: list[RouteOptions],
        *,
        slots: int,
        server: str | None,
        home: Path | None = None,
        tracker: Mapping[str, str] | None = None,
        sql: str | None = None,
    ) -> tuple[dict[str, str], Board]:
        """The environment of an app of its own, and its board.

        Args:
            server: the API of the Prefect server; None has the app start one of its own.
            tracker, sql: another board than the file.
        """
        queues = [*(r.queue for r in routes), "In Progress", DONE, "Backlog"]
        board = Board(self.folder / f"{name}.json", queues)
        options = {
            "name": name, "slots": slots, "board": str(board.path), "done": DONE,
            "tracker": tracker, "sql": sql,
            "routes": [
                {"queue": r.queue, "command": r.command, "prompt": r.prompt, "interval": r.interval}
                for r in routes
            ],
        }  # fmt: skip
        env = self.environment(home or self.folder / "client")
        env |= {"BENCH_APP": json.dumps(options), "BENCH_LOG": str(self.folder / f"{name}.http")}
        if server is not None:
            env["PREFECT_API_URL"] = server
        return env, board

    @contextmanager
    def app(
        self,
        prefix: str,
        *routes: RouteOptions,
        slots: int | None = None,
        sqlite: bool = False,
        home: Path | None = None,
        tracker: Mapping[str, str] | None = None,
        sql: str | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Generator[App]:
        """Run `athanore up` until its routes have been polled once.

        Args:
            slots: how many agents may work at once.
            sqlite: let it start its own Prefect server, on SQLite; else it uses `server`.
            home: the PREFECT_HOME of that server; by default `sqlite_home`.
            tracker, sql: another board than a file, which then is empty.
            more: further variables.
        """
        name = self.name(prefix)
        server = None if sqlite else self.server
        if sqlite:
            home = home or self.sqlite_home
        env, board = self.app_environment(
            name,
            list(routes) or [RouteOptions()],
            slots=slots or self.sizes.slots,
            server=server,
            home=home,
            tracker=tracker,
            sql=sql,
        )
        env |= more or {}
        prefect_url = server or f"http://127.0.0.1:{env['PREFECT_SERVER_API_PORT']}/api"
        with self.process([athanore(), "up", APP], env, name) as process:
            prefect = Prefect(prefect_url, name)
            wait_until(
                f"{name} has polled its routes (see {self.log_file(name)})",
                lambda: self._has_polled(process, prefect, max(1, len(routes)), name),
                180,
            )
            yield App(
                psutil.Process(process.pid), prefect, board,
                f"http://127.0.0.1:{env['ATHANORE_API_PORT']}", Path(env["BENCH_LOG"]), env,
            )  # fmt: skip
        if not sqlite:
            tags = {"all_": [f"app:{name}"]}
            prefect.post("/deployments/bulk_delete", {"deployments": {"tags": tags}})

    def _has_polled(
        self, process: subprocess.Popen[bytes], prefect: Prefect, routes: int, name: str
    ) -> bool:
        if process.poll() is not None:
            log = self.log_file(name).read_text()[-2000:]
            raise AssertionError(f"{name} ended with {process.returncode}:\n{log}")
        try:
            return prefect.count("poll", state={"type": {"any_": ["COMPLETED"]}}) >= routes
        except httpx.HTTPError:
            return False

    def _answers(self, process: subprocess.Popen[bytes], url: str) -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the Prefect server ended with {process.returncode}")
        try:
            return self._http.get(f"{url}/health").status_code == 200
        except httpx.HTTPError:
            return False


def cpu_seconds_of(first: psutil.Process) -> float:
    """CPU time so far of a process and all that it started and that still lives."""
    total = 0.0
    for process in [first, *first.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def athanore() -> str:
    """The `athanore` command of this environment."""
    return str(Path(sys.executable).with_name("athanore"))


def seconds_between(earlier: str, later: str) -> float:
    """The seconds between two of Prefect's times."""
    from datetime import datetime

    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def settle(seconds: float = 1.0) -> None:
    """Let what has just ended come to rest, so that it is not measured."""
    time.sleep(seconds)
