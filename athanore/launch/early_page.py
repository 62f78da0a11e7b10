"""The board page while Prefect is starting: it needs only the board, and is there in a second.

A small server on the socket of the task API, in threads of its own, as the imports of the start
hold up the event loop. It answers the page, its files and `GET /board`, and everything else with
503, which agents and commands repeat. The task API takes the socket over.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Generator, Mapping
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from types import MappingProxyType
from typing import Any, override

from athanore.api.page.files import HEADERS, STATIC, Templates
from athanore.api.page.shares import fair_shares
from athanore.dispatcher import AgentDispatcher
from athanore.errors import BoardError
from athanore.http_client.hosts import HostPolicy
from athanore.models import Queue, Task
from athanore.queue_adapters.base import SupportsChangeStamp
from athanore.runtime.secrets.redaction import Redactor
from athanore.texts import as_json

_MAX_CARDS = 500
_LOCAL_SECONDS = 1.0
_REMOTE_SECONDS = 30.0
_PATIENCE = 10.0
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_JSON = "application/json"
_STARTING = "The app is starting: Prefect is not there yet. Try again in a few seconds."
_LATER = MappingProxyType({"Retry-After": "1"})


class EarlyPage:
    """Serves the page until it is told to stop; the socket stays open.

    Args:
        url: where agents and people are told to find the task API.
    """

    def __init__(self, dispatcher: AgentDispatcher, sock: socket.socket, url: str) -> None:
        self._board = _BoardNow(dispatcher)
        self._server = _Server(dispatcher, sock, url, self._board)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="early page", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections: the next ones wait for whoever serves the socket then."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()


@contextlib.contextmanager
def early_page(dispatcher: AgentDispatcher, sock: socket.socket, url: str) -> Generator[EarlyPage]:
    """Serve the page while the block runs, or until its `stop`."""
    page = EarlyPage(dispatcher, sock, url)
    try:
        yield page
    finally:
        page.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, dispatcher: AgentDispatcher, sock: socket.socket, url: str, board: _BoardNow
    ) -> None:
        super().__init__(sock.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        settings = dispatcher.settings
        self.hosts = HostPolicy(settings.api_host, url)
        needs_key = settings.api_auth == "token"
        self.key = settings.api_key.get_secret_value() if needs_key and settings.api_key else None
        self.app = dispatcher.name
        self.page = Templates().board(dispatcher.name)
        self.files = {path.name: path.read_bytes() for path in STATIC.iterdir()}
        self.board = board

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # who asked has gone away
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        """Answer the page, its files, and the board; see the rules of `Guard` for who may ask."""
        path = self.path.partition("?")[0]
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if not self.server.hosts.names_us(hosts):
            self._problem(403, "foreign-host", "This server does not go by that name.")
        elif not self.server.hosts.may_call(origins, hosts[0]):
            self._problem(403, "foreign-origin", "Web pages of others may not call this server.")
        elif path == "/" and "text/html" in self.headers.get("Accept", ""):
            self._answer(self.server.page.encode(), "text/html; charset=utf-8", headers=HEADERS)
        elif path.startswith("/static/") and (name := path.rpartition("/")[2]) in self.server.files:
            kind = _TYPES.get(f".{name.rpartition('.')[2]}", "application/octet-stream")
            self._answer(self.server.files[name], kind)
        elif path == "/board" and not self._has_key():
            self._problem(401, "token-needed", "Send the operators' key (ATHANORE_API_KEY).")
        elif path == "/board":
            self._answer(self.server.board.as_json(), _JSON)
        elif path == "/":  # who wants to know whose port this is asks for the guide
            said = f"Athanore task API of the app {self.server.app!r}.\n{_STARTING}\n"
            self._answer(said.encode(), "text/plain; charset=utf-8", 503, _LATER)
        else:
            self._starting()

    def _starting(self) -> None:
        self._problem(503, "starting", _STARTING, _LATER)

    do_HEAD = do_GET
    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _starting

    def _has_key(self) -> bool:
        key = self.server.key
        said = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return key is None or compare_digest(said.encode(), key.encode())

    def _problem(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        title = kind.replace("-", " ").capitalize()
        said = {"type": f"urn:athanore:problem:{kind}", "title": title}
        body = as_json({**said, "status": status, "detail": detail})
        self._answer(body.encode(), "application/problem+json", status, headers or {})

    def _answer(
        self, body: bytes, kind: str, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        always = {"Content-Type": kind, "Content-Length": str(len(body)), "Vary": "Accept"}
        safe = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        for name, value in (always | safe | dict(headers or {})).items():
            self.send_header(name, value)
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @override
    def version_string(self) -> str:
        return "athanore"

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, as the task API logs no requests."""


class _BoardNow:
    """What `GET /board` says while nothing is known of runs, read as seldom as may be."""

    def __init__(self, dispatcher: AgentDispatcher) -> None:
        self._dispatcher = dispatcher
        self._redactor = Redactor.before_prefect(dispatcher)
        is_local = isinstance(dispatcher.board, SupportsChangeStamp)
        self._max_age = _LOCAL_SECONDS if is_local else _REMOTE_SECONDS
        self._lock = threading.Lock()
        self._queues: list[Queue] = []
        self._tasks: list[Task] = []
        self._error: str | None = None
        self._read_at: float | None = None

    def as_json(self) -> bytes:
        with self._lock:
            if self._read_at is None or monotonic() - self._read_at > self._max_age:
                self._read()
                self._read_at = monotonic()
            return as_json(self._redactor.value(self._model())).encode("utf-8", "replace")

    def _read(self) -> None:
        board = self._dispatcher.board
        try:
            self._queues = board.list_queues()
            self._tasks = board.get_ready_tasks([q.name for q in self._queues])
            self._error = None
        except BoardError as exc:
            self._error = str(exc)

    def _model(self) -> dict[str, object]:
        """The fields of `BoardModel`."""
        by_queue: dict[str, list[Task]] = {q.name: [] for q in self._queues}
        for task in self._tasks:
            by_queue.setdefault(task.queue_name, []).append(task)
        shares = fair_shares({name: len(tasks) for name, tasks in by_queue.items()}, _MAX_CARDS)
        hidden = {name: len(tasks) - shares[name] for name, tasks in by_queue.items()}
        return {
            "app": self._dispatcher.name,
            "queues": [self._queue(q, hidden[q.name]) for q in self._queues],
            "cards": [_card(t) for name, ts in by_queue.items() for t in ts[: shares[name]]],
            "max_concurrent_agents": self._dispatcher.settings.max_concurrent_agents,
            "active_agents": None,
            "workers": [],
            "needs_person": [],
            "provider_limits": [],
            "board_error": self._error,
            "prefect_error": None,
            "ui_url": None,
            "starting": True,
        }

    def _queue(self, queue: Queue, hidden: int) -> dict[str, object]:
        routes = self._dispatcher.routes.values()
        kind = "other"
        if any(r.queue_name == queue.name for r in routes):
            kind = "watched"
        elif any(r.in_progress_queue == queue.name for r in routes):
            kind = "in-progress"
        elif any(r.dead_letter_queue == queue.name for r in routes):
            kind = "dead-letter"
        return {
            "name": queue.name,
            "task_count": queue.task_count,
            "hidden": hidden,
            "kind": kind,
            "route": None,
            "routes": [],
        }


def _card(task: Task) -> dict[str, object]:
    return {
        "id": task.id,
        "name": task.name,
        "queue_name": task.queue_name,
        "labels": list(task.labels),
        "assignees": list(task.assignees),
        "run": None,
        "dead_letter": None,
        "needs_person": None,
        "waits_for": None,
        "until": None,
        "actions": [],
    }
