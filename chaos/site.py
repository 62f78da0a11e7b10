"""The system under test: a Prefect server, two workers on two hosts, the task API, a JSON board.

Every part is a process of its own, started again whenever it has ended, as systemd does it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from athanore import JsonFileAdapter
from athanore.launch.prefect.server_process import server_command, server_environment
from athanore.processes.family import Family
from athanore.processes.supervisor import default_reaper
from tests.support import LOCAL, clean_environment, free_port, wait_until

APP = "chaos"
QUEUES = ("Todo", "Review", "In Progress", "Done", "Failed", "Cancelled", "Parked")
LIMIT = 10
MAX_RETRIES = 3
MAX_CRASHES = 3
LOST_AFTER = 45.0
"""Short settings, but real ones: a lost host is noticed after 45 seconds instead of 600."""

_RESTART_PAUSE = 2.0
_ATHANORE = str(Path(sys.executable).with_name("athanore"))

_SCRIPT = f"""\
import os
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={APP!r}, command=os.environ["CHAOS_AGENT"], queue_backend=JsonFileAdapter("board.json"),
    poll_interval=5, agent_timeout=25, max_concurrent_agents={LIMIT}, max_retries={MAX_RETRIES},
    max_crashes={MAX_CRASHES}, dead_letter_queue="Failed", shutdown_grace=2,
)
options = {{"on_cancel": "Cancelled", "pause_after_failures": 1000, "retry_delay": 1}}

@dispatcher.route("Review", done_queue="Done", priority=1, **options)
def review(task_id: str, task_name: str) -> str:
    return task_name

@dispatcher.route("Todo", done_queue="Review", **options)
def todo(task_id: str, task_name: str) -> str:
    return task_name
"""


class Service:
    """One process that is started again when it has ended, unless it is held down for a while.

    Args:
        host: run it on a "host" of its own, if this machine lets us make one: with another name
            and a process table of its own, so that its workers look like those of another machine.
    """

    def __init__(
        self, name: str, command: list[str], env: dict[str, str], folder: Path, host: str = ""
    ) -> None:
        self.name = name
        self.starts = 0
        self.bad_exits: list[int] = []
        self._excused = False
        self._host = host
        self._command = command
        self._env = env
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._family = Family.new()
        self._start_at = 0.0
        self._wanted = False

    def start(self) -> None:
        """Have it run from now on."""
        self._wanted = True
        self.tend()

    def tend(self) -> None:
        """Start it again if it has ended."""
        if self._process is not None and (code := self._process.poll()) is not None:
            # 2: it said what was in its way (the board or Prefect are away).
            if code not in (0, 2) and not self._excused:
                self.bad_exits.append(code)
            self._process, self._excused = None, False
            self._start_at = max(self._start_at, time.monotonic() + _RESTART_PAUSE)
        if self._process is None and self._wanted and time.monotonic() >= self._start_at:
            self._spawn()

    def _spawn(self) -> None:
        command = self._command
        if self._host:
            script = 'hostname "$0" && exec "$@"'
            own = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
            command = [*own, "sh", "-c", script, self._host, *command]
        self.starts += 1
        self._family = Family.new()
        default_reaper().watch(self._family)  # should the suite itself be killed
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env={**self._env, **self._family.env},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int | None:
        """The pid of the program itself, while it runs."""
        if self._process is None or self._process.poll() is not None:
            return None
        if not self._host:
            return self._process.pid
        try:
            children = psutil.Process(self._process.pid).children()
        except psutil.Error:
            return None
        return children[0].pid if children else None

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the program; False if it does not run."""
        pid = self.pid
        if pid is None:
            return False
        if number is signal.SIGKILL or not _catches(pid, number):
            self._excused = True  # a Python that is still starting dies of any signal
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def hold_down(self, seconds: float) -> None:
        """Do not start it again before this time has passed."""
        self._start_at = time.monotonic() + seconds

    def kill_with_reaper(self) -> bool:
        """Kill it together with the process that would have stopped its agents."""
        pid = self.pid
        if pid is None:
            return False
        with suppress(psutil.Error):
            for child in psutil.Process(pid).children():
                with suppress(psutil.Error):  # an agent that has just ended
                    if "athanore.processes.reaper" in " ".join(child.cmdline()):
                        child.kill()
        return self.signal(signal.SIGKILL)

    def stop(self, seconds: float = 60) -> int | None:
        """Stop it for good with TERM; return its exit code, None if it had to be killed."""
        self._wanted = False
        process = self._process
        if process is None:
            return 0
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None
        finally:
            self._process = None
            default_reaper().release(self._family)


def _catches(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal yet."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


class Site:
    """A folder with everything in it, and the processes that work there.

    Args:
        database: the URL for Prefect's server; None for SQLite.
        lost_after: seconds of silence after which a worker on another host counts as lost.
        work: seconds that every agent works, and then succeeds; None for what the seed says.
    """

    def __init__(
        self,
        folder: Path,
        seed: str,
        tasks: int,
        database: str | None = None,
        *,
        lost_after: float = LOST_AFTER,
        work: float | None = None,
    ) -> None:
        self.folder = folder
        self.seed = seed
        folder.mkdir(parents=True)
        (folder / "locks").mkdir()
        (folder / "record.jsonl").touch()
        (folder / "run.py").write_text(_SCRIPT)
        queues: dict[str, list[dict[str, str]]] = {name: [] for name in QUEUES}
        queues["Todo"] = [{"id": str(n), "name": f"Task {n}"} for n in range(1, tasks + 1)]
        (folder / "board.json").write_text(json.dumps({"queues": queues}))
        self.tasks = [t["id"] for t in queues["Todo"]]
        self.board = JsonFileAdapter(folder / "board.json", user="chaos")
        port, api_port = free_port(), free_port()
        self.prefect_url = f"http://127.0.0.1:{port}/api"
        self.api_url = f"http://127.0.0.1:{api_port}"
        python = [sys.executable, "-I", "-S", str(Path(__file__).with_name("agent.py"))]
        base = clean_environment(folder / "home")
        self.env = base | {
            "PREFECT_API_URL": self.prefect_url,
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "3",
            "ATHANORE_API_PORT": str(api_port),
            "ATHANORE_WORKER_LOST_AFTER": str(lost_after),
            "CHAOS_AGENT": " ".join(python),
            "CHAOS_SITE": str(folder),
            "CHAOS_SEED": seed,
            "CHAOS_LIMIT": str(LIMIT),
            "CHAOS_WORK": "" if work is None else str(work),
        }
        server_env = server_environment("127.0.0.1", port, base) | {"CHAOS_SITE": str(folder)}
        if database:
            server_env["PREFECT_API_DATABASE_CONNECTION_URL"] = database
        self.two_hosts = can_make_a_host()
        self.server = Service("server", server_command("127.0.0.1", port), server_env, folder)
        self.api = Service("api", [_ATHANORE, "api", "run.py:dispatcher"], self.env, folder)
        worker = [_ATHANORE, "worker", "run.py:dispatcher"]
        self.workers = [
            Service("worker-1", worker, self.env, folder),
            Service("worker-2", worker, self.env, folder, "chaos-2" if self.two_hosts else ""),
        ]

    @property
    def services(self) -> list[Service]:
        """All processes, in the order of their start."""
        return [self.server, self.api, *self.workers]

    def start(self) -> None:
        """Start everything, and wait until it answers."""
        self.server.start()
        wait_until("the Prefect server answers", lambda: self._answers(self.server), 180)
        deploy = [_ATHANORE, "deploy", "run.py:dispatcher"]
        with (self.folder / "deploy.log").open("wb") as log:
            subprocess.run(
                deploy, cwd=self.folder, env=self.env, check=True, stdout=log, stderr=log
            )
        for service in (self.api, *self.workers):
            service.start()

    def _answers(self, server: Service) -> bool:
        server.tend()
        try:
            return LOCAL.get(f"{self.prefect_url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def tend(self) -> None:
        """Start again what has ended."""
        for service in self.services:
            service.tend()

    def places(self) -> Counter[str]:
        """How many tasks each queue has."""
        return Counter(t.queue_name for t in self.board.get_ready_tasks(QUEUES))

    def record(self) -> list[dict[str, object]]:
        """What the agents wrote down."""
        text = (self.folder / "record.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def starts(self) -> int:
        """How many agents have started so far."""
        return (self.folder / "record.jsonl").read_bytes().count(b'"event": "start"')

    def runs(self, kind: str = "agent-run") -> Iterator[dict[str, object]]:
        """All runs of the app in Prefect."""
        offset = 0
        while True:
            page = LOCAL.post(
                f"{self.prefect_url}/flow_runs/filter",
                json={
                    "flow_runs": {"tags": {"all_": [f"app:{APP}", kind]}},
                    "sort": "ID_DESC", "limit": 200, "offset": offset,
                },
                timeout=60,
            ).raise_for_status().json()  # fmt: skip
            yield from page
            offset += len(page)
            if len(page) < 200:
                return

    def processes(self) -> list[psutil.Process]:
        """What lives of this site: the services and all that they or their agents started."""
        wanted = f"CHAOS_SITE={self.folder}".encode()
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                environ = Path(f"/proc/{process.pid}/environ").read_bytes()
                if wanted in environ.split(b"\0") and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.Error):
                continue
        return found

    def stop(self) -> dict[str, int | None]:
        """Stop everything, the server last; return the exit codes of what must end well."""
        codes = {s.name: s.stop() for s in (*self.workers, self.api)}
        self.server.stop()
        return codes

    def close(self) -> None:
        """Kill what is left."""
        for service in reversed(self.services):
            service.stop(seconds=20)
        for process in self.processes():
            process.kill()


def can_make_a_host() -> bool:
    """Tell whether processes can be given a host of their own here (Linux, root)."""
    if shutil.which("unshare") is None:
        return False
    test = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "hostname", "chaos-test"]
    return subprocess.run(test, check=False, capture_output=True).returncode == 0


def new_seed() -> str:
    """A seed that can be typed."""
    return str(random.SystemRandom().randrange(1_000_000))
