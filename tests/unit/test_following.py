"""`athanore logs -f` without a task: what all agents say, line by line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from athanore.cli import main
from athanore.cli.tasks.following import lines_of
from athanore.launch.serving import serving

EVENTS = [
    {"kind": "claimed", "data": {"queue": "Todo", "attempt": 1}},
    {"kind": "output", "data": {"lines": [{"stream": "stdout", "text": "one \x1b[31m"}]}},
    {"kind": "started", "data": {"pid": 1, "command": "x"}},
    {"task_id": "2-whose-name-is-very-long", "kind": "finished", "data": {"message": "Done"}},
]


class Stream(BaseHTTPRequestHandler):
    """The streams of an app that ends after its events."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/overview/events" else 404)
        self.end_headers()
        if self.path != "/overview/events":
            self.wfile.write(b"{}")
            return
        for number, event in enumerate(EVENTS):
            whole = {"task_id": str(number % 2), "at": "2026-11-27T01:00:00+00:00", **event}
            data = json.dumps(whole)
            self.wfile.write(f": keep-alive\n\nevent: {event['kind']}\ndata: {data}\n\n".encode())


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An app that is found from this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "run.py").write_text("")
    with ThreadingHTTPServer(("127.0.0.1", 0), Stream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = ("127.0.0.1", server.server_port)
        script = tmp_path / "run.py"
        with serving("run.py:dispatcher", script, address, "http://x", needs_token=False):
            yield
        server.shutdown()


def given(*words: str) -> object:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    return exit_.value.code


@pytest.mark.usefixtures("app")
def test_what_all_agents_say_is_printed_with_whose_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert given("logs", "-f") == 0
    _, first, second, third, last = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=2)[1:] == ["0", "attempt 1 begins, from 'Todo'"]
    assert second.split(maxsplit=2)[1] == "1" and "one" in second and "\x1b" not in second
    assert third.split(maxsplit=1)[1] == "2-whose-name-is-very-lo… Done"
    assert last == "The app has ended, or begins anew."
    assert given("logs", "-f", "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()[:3]]
    assert [event["kind"] for event in found] == ["claimed", "output", "started"]


def test_without_a_task_it_has_to_follow(capsys: pytest.CaptureFixture[str]) -> None:
    assert given("logs") == 2
    assert "athanore logs TASK" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("progress", {"percent": 40, "text": "half\nway"}, ["40 %: half way"]),
        ("progress", {"session_id": "x"}, []),
        ("tool-use", {"name": "Bash", "input": {"command": "ls"}}, ['uses Bash {"command": "ls"}']),
        ("failed", {"message": "exit code 3"}, ["exit code 3"]),
        ("dead-lettered", {"reason": "given up", "queue": "Failed"}, ["given up"]),
        ("cost", {"cost_usd": 1.0}, []),
        ("asked", {"question_id": "7f", "question": "Which?"}, ["asks: Which?"]),
        ("answered", {"answer": "This.", "by": "Ada"}, ["is answered by Ada: This."]),
        ("expired", {"reason": "nobody has answered in time"}, ["nobody has answered in time"]),
    ],
)
def test_what_an_event_says(kind: str, data: dict[str, Any], said: list[str]) -> None:
    assert [line for line, _ in lines_of(kind, data)] == said
