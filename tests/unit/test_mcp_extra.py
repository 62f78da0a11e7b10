"""What doctor says where the extra `mcp` is on one side only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from athanore import CliAgentAdapter, MemoryAdapter, ScriptedAgent
from athanore.agent_adapters.base import AgentAdapter
from athanore.dispatcher import AgentDispatcher
from athanore.launch.foreground import app_is_checked
from athanore.launch.inspection import mcp_extra
from athanore.launch.inspection.mcp_extra import mcp_findings
from athanore.launch.stopping import Stop
from tests.harness import prompt


@contextmanager
def api(status: int) -> Generator[int]:
    """A task API that answers so at `/mcp`; yields its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status if self.path == "/mcp" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


async def told(port: int, agent: AgentAdapter | None = None) -> list[str]:
    app = AgentDispatcher(
        name="t", queue_backend=MemoryAdapter(["Todo"]), api_port=port,
        default_agent=agent or CliAgentAdapter("codex"),
    )  # fmt: skip
    app.route("Todo")(prompt)
    return [found.says for found in await mcp_findings(app)]


@pytest.mark.parametrize(
    ("here", "status", "says"),
    [
        (True, 501, "agents are told of tools that are not there."),
        (False, 401, "agents of this host call the API with curl."),
        (True, 400, ""),
        (False, 501, ""),
        (True, 404, ""),
    ],
)
async def test_it_is_said_in_one_line(
    here: bool, status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_extra, "is_installed", lambda: here)
    with api(status) as port:
        found = await told(port)
        assert [line.endswith(says) for line in found] == ([True] if says else [])
        assert await told(port, ScriptedAgent([])) == [], "no agent would use it"
    assert await told(port) == [], "it does not run"


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_start_without_the_extra_names_the_routes_whose_agents_miss_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_there: bool
) -> None:
    monkeypatch.setattr(mcp_extra, "is_installed", lambda: is_there)
    app = AgentDispatcher(
        name="t", queue_backend=MemoryAdapter(["Todo", "Review", "In Progress"]),
        default_agent=CliAgentAdapter("codex", program=sys.executable),
    )  # fmt: skip
    app.route("Todo")(prompt)
    app.route("Review", agent=ScriptedAgent())(prompt)
    assert await app_is_checked(app, "run.py:dispatcher", Stop())
    told = [r.getMessage() for r in caplog.records if getattr(r, "action", "") == "extra_missing"]
    says = (
        "The extra `mcp` is not installed, so the agents of 'Todo' reach their task with curl only"
    )
    assert [line[: len(says)] for line in told] == ([] if is_there else [says])
