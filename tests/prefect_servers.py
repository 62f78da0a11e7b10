"""The Prefect servers of a test session: one a database, shared by all processes that run tests.

pytest's own process starts them, each when it is first asked for, and stops them at the end; should
it be killed, its reaper does. The processes of pytest-xdist ask it over a socket.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from tempfile import mkdtemp
from typing import Any, Protocol

import pytest

from tests import postgres
from tests.postgres import SQLITE
from tests.support import prefect_server


class Servers(Protocol):
    """Where the servers are."""

    def home(self, database: str) -> Path:
        """The PREFECT_HOME of a server."""
        ...

    def url(self, database: str) -> str:
        """The address of a server's API, which is started if need be."""
        ...


class OwnServers:
    """The servers that this process starts, and stops with `stack`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._urls: dict[str, str] = {}
        self._lock = threading.Lock()

    def home(self, database: str) -> Path:
        """The PREFECT_HOME of a server."""
        return self._folder / database

    def url(self, database: str) -> str:
        """The address of a server's API."""
        with self._lock:
            if database not in self._urls:
                self._urls[database] = self._stack.enter_context(self._server(database))
            return self._urls[database]

    @contextmanager
    def _server(self, database: str) -> Generator[str]:
        if database == SQLITE:
            with prefect_server(self.home(database)) as api:
                yield api
            return
        with postgres.database() as url, prefect_server(self.home(database), url) as api:
            yield api


class OthersServers:
    """The servers of the process that `share` runs in."""

    def __init__(self, port: int) -> None:
        self._port = port

    def home(self, database: str) -> Path:
        """The PREFECT_HOME of a server."""
        return Path(self._ask(database)["home"])

    def url(self, database: str) -> str:
        """The address of a server's API."""
        return self._ask(database)["url"]

    def _ask(self, database: str) -> dict[str, str]:
        with (
            closing(socket.create_connection(("127.0.0.1", self._port))) as connection,
            connection.makefile("rw", encoding="utf-8") as stream,
        ):
            stream.write(f"{database}\n")
            stream.flush()
            answer: dict[str, str] = json.loads(stream.readline())
        if "error" in answer:
            raise AssertionError(f"there is no Prefect server on {database}: {answer['error']}")
        return answer


@contextmanager
def share(servers: Servers) -> Generator[int]:
    """Tell other processes of this user's where the servers are; yields the port to ask at."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            database = self.rfile.readline().decode().strip()
            try:
                answer = {"url": servers.url(database), "home": str(servers.home(database))}
            except Exception as exc:
                answer = {"error": f"{type(exc).__name__}: {exc}"}
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


PORT = "prefect_servers_port"
"""Under this name a process of pytest-xdist is told where to ask."""

PORT_VARIABLE = "ATHANORE_TEST_PREFECT_PORT"
"""In this variable a whole session of pytest is told where to ask: `make mutations` starts many."""


class SharedServers:
    """The part of pytest that keeps the servers for the processes of pytest-xdist."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._port = 0
        self._keep = False
        self._stack = ExitStack()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a process where to ask, before it starts."""
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="athanore-prefect-"))
            servers = OwnServers(self._folder, self._stack)
            self._port = self._stack.enter_context(share(servers))
        node.workerinput[PORT] = self._port

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """Keep the servers' logs if anything failed, and say where they are."""
        if exitstatus and self._folder and any(self._folder.iterdir()):
            self._keep = True
            terminalreporter.write_line(f"Logs of the Prefect servers: {self._folder}/*/server.log")

    def pytest_unconfigure(self) -> None:
        """Stop the servers."""
        self._stack.close()
        if self._folder and not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
