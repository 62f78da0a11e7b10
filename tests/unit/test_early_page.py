"""The board page is there before Prefect is, for those who may see it; then comes the API."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from athanore.api.page.models import BoardModel
from athanore.launch.early_page import EarlyPage, early_page
from athanore.launch.port_holder import app_at
from athanore.launch.sockets import listen

BOARD = {
    "queues": {
        "Todo": [
            {"id": "1", "name": "Fix crash", "labels": ["bug"]},
            {"id": "2", "name": "open-sesame"},
        ],
        "In Progress": [],
        "Given up": [],
        "Notes": [],
    }
}


@contextmanager
def served(folder: Path) -> Generator[tuple[httpx.Client, EarlyPage]]:
    """The early page of an app with a board of two tasks."""
    path = folder / "board.json"
    path.write_text(json.dumps(BOARD))
    app = AgentDispatcher(name="early", command="true", queue_backend=JsonFileAdapter(str(path)))

    @app.route("Todo", in_progress_queue="In Progress", dead_letter_queue="Given up")
    def work(task_id: str, task_name: str) -> str:
        return task_name

    assert work("1", "Fix crash") == "Fix crash"
    with listen("127.0.0.1", 0) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        with (
            early_page(app, sock, url) as page,
            httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
        ):
            yield client, page


def test_a_browser_gets_the_page_with_its_files_and_the_board(tmp_path: Path) -> None:
    with served(tmp_path) as (client, _):
        page = client.get("/", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        script = page.text.partition('type="module" src="')[2].partition('"')[0]
        assert client.get(script).headers["Content-Type"] == "text/javascript"
        assert client.get("/static/x/../../../board.html").status_code == 503

        board = BoardModel.model_validate(client.get("/board").json())
        assert set(client.get("/board").json()) == set(BoardModel.model_fields)
    assert board.starting
    assert board.active_agents is None
    kinds = {q.name: q.kind for q in board.queues}
    assert kinds["Todo"] == "watched"
    assert kinds["In Progress"] == "in-progress"
    assert kinds["Given up"] == "dead-letter"
    assert kinds["Notes"] == "other"
    assert [(c.id, c.queue_name, c.labels) for c in board.cards] == [
        ("1", "Todo", ["bug"]),
        ("2", "Todo", []),
    ]


def test_everything_else_is_asked_to_come_again(tmp_path: Path) -> None:
    with served(tmp_path) as (client, _):
        for method, path in (("GET", "/"), ("GET", "/tasks/1"), ("POST", "/tasks/1/move")):
            answer = client.request(method, path, json={} if method == "POST" else None)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert "Prefect is not there yet" in answer.text
        port = client.base_url.port
        assert port is not None
        assert asyncio.run(app_at("127.0.0.1", port)) == "early"


def test_web_pages_of_others_get_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as (client, _):
        rebound = client.get("/board", headers={"Host": "evil.example"})
        foreign = client.get("/board", headers={"Origin": "http://evil.example"})
    assert (rebound.status_code, foreign.status_code) == (403, 403)
    assert "Fix crash" not in rebound.text + foreign.text


def test_a_locked_board_is_shown_to_operators_only_and_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_API_AUTH", "token")
    monkeypatch.setenv("ATHANORE_API_KEY", "open-sesame")
    with served(tmp_path) as (client, _):
        assert client.get("/", headers={"Accept": "text/html"}).status_code == 200
        assert client.get("/board").status_code == 401
        assert client.get("/board", headers={"Authorization": "Bearer no"}).status_code == 401
        seen = client.get("/board", headers={"Authorization": "Bearer open-sesame"})
    assert seen.status_code == 200
    assert "Fix crash" in seen.text
    assert "open-sesame" not in seen.text


def test_a_board_that_breaks_is_said_to_be_broken(tmp_path: Path) -> None:
    with served(tmp_path) as (client, _):
        (tmp_path / "board.json").write_text("{")
        assert "board.json" in client.get("/board").json()["board_error"]


def test_who_calls_once_it_is_over_waits_for_whoever_serves_then(tmp_path: Path) -> None:
    with served(tmp_path) as (client, page):
        page.stop()
        with pytest.raises(httpx.ReadTimeout):  # the connection itself is there
            client.get("/board", timeout=httpx.Timeout(60, read=0.5))


def test_neither_prefect_nor_fastapi_is_imported_for_it() -> None:
    code = (
        "import sys, athanore.launch.app, athanore.launch.foreground\n"
        "print(*sorted({'prefect', 'fastapi', 'httpx'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )
    assert found.stdout.split() == []
