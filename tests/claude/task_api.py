"""A small real task API on 127.0.0.1, with the routes that agents are taught."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

type Json = dict[str, Any]


class TaskApi:
    """One board in memory; `calls` are (method, path) of all requests that were let in."""

    def __init__(self, token: str | None = None) -> None:
        self.tasks: dict[str, Json] = {
            "7": {"id": "7", "name": "Write it", "queue_name": "In Progress", "comments": []}
        }
        self.calls: list[tuple[str, str]] = []
        self.token = token
        api = self

        class Handler(_Handler):
            def serve(self, body: Json) -> tuple[int, object]:
                if api.token and self.headers["Authorization"] != f"Bearer {api.token}":
                    return 401, {"detail": "token missing"}
                api.calls.append((self.command, self.path))
                return api.serve(self.command, unquote(self.path).strip("/").split("/"), body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, method: str, path: list[str], body: Json) -> tuple[int, object]:
        """Answer one call: status and body."""
        match method, path:
            case "GET", ["queues"]:
                return 200, [{"name": "In Progress", "task_count": 1}]
            case "POST", ["tasks"]:
                return 201, self.tasks.setdefault("8", {"id": "8", **body})
            case "GET" | "PATCH", ["tasks", task] if task in self.tasks:
                self.tasks[task] |= body
                return 200, self.tasks[task]
            case "POST", ["tasks", task, "comments"] if task in self.tasks:
                self.tasks[task]["comments"].append(body["comment"])
                return 201, body
            case "POST", ["tasks", task, "move"] if task in self.tasks:
                self.tasks[task]["queue_name"] = body["target_queue"]
                return 200, self.tasks[task]
            case _:
                return 404, {"detail": f"no {method} /{'/'.join(path)}"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def task_api(token: str | None = None) -> Generator[TaskApi]:
    """Run a task API for the length of a `with` block."""
    api = TaskApi(token)
    try:
        yield api
    finally:
        api.close()


class _Handler(BaseHTTPRequestHandler):
    def serve(self, body: Json) -> tuple[int, object]:
        raise NotImplementedError

    def _answer(self) -> None:
        length = int(self.headers["Content-Length"] or 0)
        status, answer = self.serve(json.loads(self.rfile.read(length)) if length else {})
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""
