"""An app whose own Prefect server dies, seen from outside."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.acceptance.system import System
from tests.support import prefect_server, wait_until

pytestmark = pytest.mark.timeout(900)

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    "sh", name="own", queue_backend=JsonFileAdapter("board.json"), shutdown_grace=1, poll_interval=2
)

@dispatcher.route("Todo", args=["-c", "touch started; sleep 600"], done_queue="Done")
def todo(task_id: str, task_name: str) -> str:
    return task_name

dispatcher.run()
"""


def server_of(system: System) -> psutil.Process | None:
    for line in system.processes():
        pid, _, command = line.partition(": ")
        if "athanore.launch.prefect.prefect_app" in command:
            return psutil.Process(int(pid))
    return None


def returned_by_a_stop(system: System) -> str:
    """Stop it at once, see its task returned and nothing of it left; what the comments say."""
    system.signal(signal.SIGTERM)
    system.signal(signal.SIGTERM)
    assert system.wait(100) == 0, system.log.read_text()[-5000:]
    assert system.processes() == []
    (task,) = system.board()["Todo"]
    return json.dumps(task["comments"])


@pytest.mark.nightly
def test_its_own_prefect_is_started_again_and_a_stop_without_it_returns_the_task(
    tmp_path: Path,
) -> None:
    board = {"queues": {"Todo": [{"id": "1", "name": "Fix it"}], "In Progress": [], "Done": []}}
    system = System(tmp_path / "app", SCRIPT, board)
    try:
        system.start()
        wait_until("the agent works", (system.folder / "started").exists)
        first = wait_until("there is a server", lambda: server_of(system))
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        wait_until("it is back", lambda: "The Prefect server is back" in system.log.read_text())
        assert system.get("/status").status_code == 200
        second = wait_until("there is another", lambda: server_of(system))
        assert second is not None and second.pid != first.pid
        said = system.log.read_text().count("Prefect does not answer")
        os.kill(second.pid, signal.SIGKILL)
        wait_until(
            "that is noticed",
            lambda: system.log.read_text().count("Prefect does not answer") > said,
        )
        assert "shutting down" in returned_by_a_stop(system)
    finally:
        system.kill()


@pytest.mark.nightly
@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_stop_in_the_moment_in_which_prefect_goes_away_returns_the_task(
    tmp_path: Path, fate: signal.Signals
) -> None:
    """Nobody has noticed yet that it is away, and it stays away; a frozen one takes requests."""
    board = {"queues": {"Todo": [{"id": "1", "name": "Fix it"}], "In Progress": [], "Done": []}}
    system = System(tmp_path / "app", SCRIPT, board)
    try:
        with prefect_server(tmp_path / "server") as url:
            system.start(PREFECT_API_URL=url)
            wait_until("the agent works", (system.folder / "started").exists)
            (server,) = (
                p for p in psutil.Process().children() if "prefect_app" in " ".join(p.cmdline())
            )
            server.send_signal(fate)
            try:
                assert "shutting down, and Prefect is away" in returned_by_a_stop(system)
            finally:
                if server.is_running():
                    server.resume()
    finally:
        system.kill()
