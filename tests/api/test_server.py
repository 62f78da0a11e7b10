"""Serving: in a thread of its own, until it is cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from athanore.launch.port_holder import app_at
from tests.api.conftest import OPERATOR, dispatcher
from tests.api.rig import NO_PREFECT, served
from tests.support import free_port, wait_until

ROOT = Path(__file__).parents[2]


def test_the_port_is_free_again_when_the_server_has_stopped(tmp_path: Path) -> None:
    with served(dispatcher(tmp_path)) as api:
        assert api.get("/queues")
        url = api.url
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_variables_for_other_servers_do_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "auto")
    monkeypatch.setenv("UVICORN_WORKERS", "4")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "nobody")
    with served(dispatcher(tmp_path)) as api:
        assert api.get("/queues")


@pytest.mark.parametrize("auth", ["open", "token"])
def test_who_has_the_port_is_found_out_without_a_key(
    auth: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANORE_API_AUTH", auth)
    monkeypatch.setenv("ATHANORE_API_KEY", OPERATOR)
    with served(dispatcher(tmp_path, "it's here")) as api:
        address = httpx.URL(api.url)
        found = asyncio.run(app_at(address.host, address.port or 0))
        assert found == api.app.name


def test_an_open_stream_does_not_keep_the_server_from_stopping(
    tmp_path: Path, prefect_api: str
) -> None:
    lines: list[str] = []
    with served(dispatcher(tmp_path), prefect_api) as api:
        (task,) = api.board.get_ready_tasks(["Done"])

        def read() -> None:
            path = f"{api.url}/tasks/{task.id}/events"
            with httpx.stream("GET", path, params={"follow": True}, timeout=60) as response:
                for line in response.iter_lines():
                    lines.append(line)

        reader = threading.Thread(target=read)
        reader.start()
        wait_until("the stream is open", lambda: ": connected" in lines)
    reader.join(60)
    assert not reader.is_alive()
    assert ": connected" in lines
    assert "event: end" not in lines


def test_uvicorn_serves_the_app_from_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(
        "from athanore import AgentDispatcher, JsonFileAdapter\n"
        "dispatcher = AgentDispatcher(queue_backend=JsonFileAdapter('board.json'))\n"
    )
    (tmp_path / "board.json").write_text(json.dumps({"queues": {"Todo": []}}))
    port = free_port()
    env = {**os.environ, "ATHANORE_APP": "run.py:dispatcher", "PREFECT_API_URL": NO_PREFECT}
    command = [
        sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT), "api.main:app",
        "--port", str(port), "--log-level", "warning",
    ]  # fmt: skip
    process = subprocess.Popen(command, env=env, cwd=tmp_path)
    try:
        answer = wait_until("the API answers", lambda: _get(f"http://127.0.0.1:{port}/queues"))
        assert answer == [{"name": "Todo", "task_count": 0}]
    finally:
        process.terminate()
        process.wait(30)


def _get(url: str) -> object:
    try:
        return httpx.get(url).json()
    except httpx.HTTPError:
        return None
