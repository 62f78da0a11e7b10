"""What tests of several layers share: free ports, waiting for a condition, a Prefect server."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from athanore.launch.prefect.server_process import server_command, server_environment
from athanore.processes.family import Family
from athanore.processes.supervisor import default_reaper

POLL = 0.05

_EMPTY = Path(__file__).parents[1] / ".cache" / f"prefect-{version('prefect')}.db"

_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Local:
    """Asks servers of this machine as httpx does, which reads all certificates first each time."""

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return httpx.request(method, url, verify=_NO_CERTIFICATES, trust_env=False, **options)

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self.request("POST", url, **options)

    def patch(self, url: str, **options: Any) -> httpx.Response:
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", url, **options)


LOCAL = _Local()


# Below the ports that the system gives to outgoing connections (from 32768 on Linux), which could
# take a port between our look and the server's start; and apart for tests that run side by side.
_ports = itertools.count(
    12000 + 4000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) + os.getpid() % 3000
)


def free_port() -> int:
    """A port that was free a moment ago, and that no other test has been given."""
    for port in _ports:
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("there is no free port")


def of_this_process(name: str) -> str:
    """A name that tests in another process of pytest-xdist do not use: they share one Prefect."""
    return name + os.environ.get("PYTEST_XDIST_WORKER", "")


def wait_until[T](
    what: str, condition: Callable[[], T], seconds: float = 120, *, every: float = POLL
) -> T:
    """Return the condition's first true value; fail with `what` when it takes too long.

    Args:
        every: seconds from one look to the next; a look that asks a server costs it something.
    """
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(every)


def clean_environment(home: Path) -> dict[str, str]:
    """The environment for a process under test: none of this machine's Prefect settings."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "ATHANORE"))}
    env["PREFECT_HOME"] = str(home)
    env["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    env["DO_NOT_TRACK"] = "1"
    return env


@contextmanager
def prefect_server(
    home: Path, database_url: str | None = None, port: int | None = None
) -> Generator[str]:
    """Run the Prefect server of `athanore up`, on a free port by default; yields its API's address.

    Args:
        database_url: another database than the SQLite file in `home`.
    """
    port = port or free_port()
    env = server_environment("127.0.0.1", port, clean_environment(home))
    if database_url:
        env["PREFECT_API_DATABASE_CONNECTION_URL"] = database_url
    home.mkdir(parents=True, exist_ok=True)
    fresh = database_url is None and not (home / "prefect.db").exists()
    if fresh and _EMPTY.exists():
        shutil.copyfile(_EMPTY, home / "prefect.db")
    log = home / "server.log"
    # Should the tests be killed, the reaper stops the server.
    family = Family.new()
    default_reaper().watch(family)
    with log.open("wb") as output:
        process = subprocess.Popen(
            server_command("127.0.0.1", port),
            env={**env, **family.env},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    family = family.led_by(process.pid)
    default_reaper().watch(family)
    url = f"http://127.0.0.1:{port}/api"
    try:
        up = lambda: _answers(process, url, log)  # noqa: E731
        wait_until("the Prefect server answers", up, 240, every=0.2)
        if fresh and not _EMPTY.exists():
            _keep_empty(home / "prefect.db")
        yield url
    finally:
        stop_group(process)
        default_reaper().release(family)


def _keep_empty(database: Path) -> None:
    """Keep the database of a server that has just begun: to make its tables takes seconds."""
    _EMPTY.parent.mkdir(exist_ok=True)
    copy = _EMPTY.with_suffix(f".{os.getpid()}")
    with (
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    copy.replace(_EMPTY)


def _answers(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"the Prefect server ended:\n{log.read_text()[-3000:]}")
    try:
        return LOCAL.get(f"{url}/health", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def stop_group(process: subprocess.Popen[bytes], seconds: float = 15) -> None:
    """Stop a process that leads its own group: TERM, then KILL."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()


@contextmanager
def ordinary_user() -> Generator[None]:
    """Drop the powers of root, which no permission stops."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
