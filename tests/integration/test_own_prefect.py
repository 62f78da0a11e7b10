"""An app whose own Prefect server dies, seen from outside."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.acceptance.system import System
from tests.support import wait_until

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
        # Stopped, it does not come back, as if the machine that it is on were gone.
        os.kill(second.pid, signal.SIGKILL)
        wait_until(
            "that is noticed", lambda: system.log.read_text().count("Prefect does not answer") > 1
        )
        system.signal(signal.SIGTERM)
        system.signal(signal.SIGTERM)
        assert system.wait(100) == 0, system.log.read_text()[-5000:]
        (task,) = system.board()["Todo"]
        assert "shutting down" in json.dumps(task["comments"])
        assert system.processes() == []
    finally:
        system.kill()
