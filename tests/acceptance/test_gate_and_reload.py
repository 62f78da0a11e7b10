"""Nothing starts before a person says yes, and then it starts in the newest code that works.

`python run.py` in a folder of its own, with its own Prefect; it takes changed code over by itself.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.system import System
from tests.support import wait_until

CLI = "from athanore.cli import main; main()"

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    "my-agent", name="gated", queue_backend=JsonFileAdapter("board.json"), poll_interval=1,
)


@dispatcher.route(
    "Todo", done_queue="Done", waiting_queue="Waiting", rejected_queue="Rejected",
    approve_before="start", approve_insecurely=True,
)
def todo(task_id: str, task_name: str) -> str:
    return "Do " + task_name


if __name__ == "__main__":
    dispatcher.run()
"""

QUEUES = ("Todo", "In Progress", "Waiting", "Done", "Rejected")

pytestmark = [pytest.mark.nightly, pytest.mark.smoke, pytest.mark.timeout(400)]


def test_what_a_person_has_approved_starts_in_the_newest_code(tmp_path: Path) -> None:
    board: dict[str, Any] = {"queues": {queue: [] for queue in QUEUES}}
    names = ("Paint", "Drop", "Sweep", "Dust")
    board["queues"]["Todo"] = [{"id": str(n), "name": name} for n, name in enumerate(names, 1)]
    system = System(tmp_path, SCRIPT, board)
    agent = tmp_path / "agent.py"
    agent.write_text("import pathlib, sys\npathlib.Path('starts').open('a').write(sys.argv[1])\n")
    system.add_program("my-agent", sys.executable, "-I", "-S", agent)
    starts, script = tmp_path / "starts", tmp_path / "run.py"

    def asked() -> dict[str, str]:
        questions = system.get("/questions").json()
        return {q["task_id"]: q["id"] for q in questions if q["is_approval"]}

    def started() -> str:
        return starts.read_text() if starts.exists() else ""

    def says(text: str, times: int = 1) -> None:
        wait_until(f"it says {text!r}", lambda: system.log.read_text().count(text) == times, 60)

    try:
        system.start(ATHANORE_RELOAD="auto-insecurely")
        wait_until("all wait for a person", lambda: set(asked()) == {"1", "2", "3", "4"}, 120)
        before = asked()
        system.signal(signal.SIGKILL)
        system.wait()
        system.start(ATHANORE_RELOAD="auto-insecurely")
        assert asked() == before
        assert system.ids_in("Waiting") == ["1", "2", "3", "4"]

        said = {"by": "eve", "reason": "we need it"}
        assert system.post("/tasks/2/reject", said).status_code == 200
        wait_until("it is rejected", lambda: system.ids_in("Rejected") == ["2"], 60)
        assert any("we need it" in c["text"] for c in system.task("2")["comments"])
        assert started() == ""

        script.write_text(SCRIPT.replace("Do ", "Please do "))
        says("route 'Todo': another prompt")
        assert system.post("/tasks/1/approve", {"by": "eve"}).status_code == 200
        wait_until("its agent has worked", lambda: system.ids_in("Done") == ["1"], 60)
        assert started() == "Please do Paint"

        script.write_text(SCRIPT.replace("return", "retrun"))
        says("run.py is not taken over: ")
        assert system.post("/tasks/3/approve", {"by": "eve"}).status_code == 200
        wait_until("the last good code goes on", lambda: system.ids_in("Done") == ["1", "3"], 60)

        script.write_text(SCRIPT)
        says("run.py is taken over as version", times=2)
        approve = (sys.executable, "-c", CLI, "approve", "--all")
        subprocess.run(approve, cwd=tmp_path, env=system.environment, check=True, timeout=120)
        wait_until("all is done", lambda: system.ids_in("Done") == ["1", "3", "4"], 60)
        assert started() == "Please do PaintPlease do SweepDo Dust"
        system.signal(signal.SIGINT)
        assert system.wait() == 0
        assert system.processes() == []
    finally:
        system.kill()
