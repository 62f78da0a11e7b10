"""Whatever a person mistypes gets one clear line on stderr and a non-zero exit, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.acceptance.system import ROOT, System
from tests.support import free_port, wait_until

BOARD: dict[str, dict[str, list[object]]] = {"queues": {"Todo": [], "In Progress": [], "Done": []}}
SCRIPT = """
from athanore import AgentDispatcher, JsonFileAdapter
dispatcher = AgentDispatcher({dispatcher})
@dispatcher.route({route})
def work(task_id: str, task_name: str) -> str:
    return task_name
{more}
dispatcher.run()
"""


def fails(
    folder: Path,
    dispatcher: str = 'command="true", queue_backend=JsonFileAdapter("board.json")',
    route: str = '"Todo"',
    more: str = "",
    **environment: str,
) -> str:
    """Run a script that cannot work; return its message, which is one line."""
    system = System(folder, SCRIPT.format(dispatcher=dispatcher, route=route, more=more), BOARD)
    try:
        result = subprocess.run(
            [sys.executable, "run.py"],
            cwd=folder, env={**system.environment, **environment},
            capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        left = system.processes()
        system.kill()
    assert left == []
    assert result.returncode == 2, result.stderr
    # The page of the board may be up by then, and says where it is.
    (line,) = [it for it in result.stderr.splitlines() if "| Board:   http" not in it]
    assert line.startswith("athanore: ")
    return line.removeprefix("athanore: ")


class _SomethingElse(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def taken_port() -> Iterator[int]:
    """The port of a web server that is none of ours."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _SomethingElse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_queue_that_the_board_does_not_have(tmp_path: Path) -> None:
    message = fails(tmp_path, route='"Tood"')
    assert "Route 'Tood': the board has no queue 'Tood'" in message
    assert "Did you mean 'Todo'? It has: 'Todo', 'In Progress', 'Done'." in message


@pytest.mark.nightly
def test_another_queue_of_a_route_that_the_board_does_not_have(tmp_path: Path) -> None:
    message = fails(tmp_path, route='"Todo", dead_letter_queue="Failed"')
    assert "the board has no queue 'Failed' (dead_letter_queue)" in message


@pytest.mark.nightly
def test_a_command_that_is_not_on_path(tmp_path: Path) -> None:
    board = 'queue_backend=JsonFileAdapter("board.json")'
    message = fails(tmp_path, f'command="my-agnet --fast", {board}')
    assert "the command 'my-agnet' is not found on PATH" in message


@pytest.mark.nightly
def test_a_command_with_an_open_quote(tmp_path: Path) -> None:
    board = 'queue_backend=JsonFileAdapter("board.json")'
    message = fails(tmp_path, f'command="my-agent \'x", {board}')
    assert '"my-agent \'x"' in message
    assert "No closing quotation" in message


@pytest.mark.nightly
def test_a_route_with_neither_command_nor_agent(tmp_path: Path) -> None:
    message = fails(tmp_path, 'queue_backend=JsonFileAdapter("board.json")')
    assert "Route 'Todo' has nothing to run: pass command=" in message


@pytest.mark.nightly
def test_no_board(tmp_path: Path) -> None:
    assert "pass queue_backend=" in fails(tmp_path, 'command="true"')


@pytest.mark.nightly
def test_no_route(tmp_path: Path) -> None:
    only = 'dispatcher = AgentDispatcher(command="true", queue_backend=JsonFileAdapter("b.json"))'
    assert "The dispatcher has no routes" in fails(tmp_path, more=only)


@pytest.mark.nightly
def test_a_dispatcher_that_prefect_could_not_name(tmp_path: Path) -> None:
    assert "as a global variable" in fails(
        tmp_path, more="dispatchers = [globals().pop('dispatcher')]\ndispatchers[0].run()"
    )


@pytest.mark.nightly
def test_a_board_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    message = fails(tmp_path, 'command="true", queue_backend=JsonFileAdapter("folder")')
    assert f"{tmp_path / 'folder'} is a folder" in message


@pytest.mark.nightly
def test_a_start_waits_for_a_board_that_is_broken(tmp_path: Path) -> None:
    system = System(tmp_path, SCRIPT.format(
        dispatcher='command="true", queue_backend=JsonFileAdapter("board.json")',
        route='"Todo"', more="",
    ))  # fmt: skip
    broken = '{"queues": {"Todo": [}}'
    system.board_file.write_text(broken)

    def mend_once_told() -> None:
        wait_until("there is a log", system.log.exists)
        wait_until("it says so", lambda: "line 1" in system.log.read_text())
        assert "board.json is broken" in system.log.read_text()
        assert system.board_file.read_text() == broken
        system.board_file.write_text(json.dumps(BOARD))

    with ThreadPoolExecutor() as pool:
        mending = pool.submit(mend_once_told)
        try:
            system.start()
            mending.result()
            system.signal(signal.SIGINT)
            assert system.wait() == 0
        finally:
            system.kill()
    assert system.log.read_text().count("is broken") == 1


def test_the_port_of_the_task_api_is_in_use(tmp_path: Path, taken_port: int) -> None:
    message = fails(tmp_path, ATHANORE_API_PORT=str(taken_port))
    assert f"cannot listen on 127.0.0.1:{taken_port}" in message
    assert "ATHANORE_API_PORT" in message


@pytest.mark.nightly
def test_the_port_of_prefect_is_in_use_by_something_else(tmp_path: Path, taken_port: int) -> None:
    message = fails(tmp_path, PREFECT_SERVER_API_PORT=str(taken_port))
    assert f"Port {taken_port}" in message
    assert "is not Prefect's API (status 404)" in message
    assert "PREFECT_SERVER_API_PORT" in message


@pytest.mark.nightly
def test_a_prefect_server_that_does_not_answer(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    assert f"No Prefect server answers at {url}" in fails(tmp_path, PREFECT_API_URL=url)


@pytest.mark.nightly
def test_an_address_at_which_something_else_answers(tmp_path: Path, taken_port: int) -> None:
    url = f"http://127.0.0.1:{taken_port}/api"
    message = fails(tmp_path, PREFECT_API_URL=url)
    assert f"What answers at {url} is not Prefect's API (status 404)" in message


def test_an_api_that_would_be_open_to_everybody(tmp_path: Path) -> None:
    message = fails(tmp_path, ATHANORE_API_HOST="0.0.0.0")
    assert "ATHANORE_API_AUTH=token" in message


def _setup_venv(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run setup-venv on a machine whose only Python is too old."""
    programs = tmp_path / "bin"
    programs.mkdir()
    old = programs / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] || exit 1\necho Python 3.12.1\n')
    old.chmod(0o755)
    for name in ("sh", "dirname"):
        (programs / name).symlink_to(str(shutil.which(name)))
    return subprocess.run(
        [ROOT / "deployments" / "setup-venv", tmp_path / "venv"],
        env={"PATH": str(programs), "HOME": str(tmp_path), **environment},
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    result = _setup_venv(tmp_path)
    assert result.returncode != 0
    assert "Athanore needs Python 3.13 or newer" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_the_python_that_one_names_is_too_old(tmp_path: Path) -> None:
    named = os.fspath(tmp_path / "bin" / "python3")
    result = _setup_venv(tmp_path, ATHANORE_PYTHON=named)
    assert result.returncode != 0
    assert result.stderr == (
        f"ATHANORE_PYTHON={named} is Python 3.12.1; Athanore needs 3.13 or newer.\n"
    )
