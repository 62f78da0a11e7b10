"""`athanore restart`: the agents finish, and the same process runs the code that is there now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from athanore.launch.serving import Serving, find_serving
from tests.cli.rig import Cli
from tests.cli.test_starting import environment, tidied
from tests.harness import app_name
from tests.support import wait_until

RUN = """
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    "sh", name={name!r}, queue_backend=JsonFileAdapter("board.json"), poll_interval=3600,
    shutdown_grace=60, max_retries=0,
)

@dispatcher.route("Todo", args=["-c", "echo $0; until test -e go; do sleep 0.1; done"],
                  done_queue="Done")
def todo(task_id, task_name):
    return "the first"

if __name__ == "__main__":
    dispatcher.run()
"""


ATHANORE = str(Path(sys.executable).with_name("athanore"))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "run.py"], id="run.py"),
        pytest.param([ATHANORE, "up"], id="up", marks=pytest.mark.nightly),
    ],
)
def test_the_agents_finish_and_the_same_process_has_the_new_code(
    cli: Cli,
    prefect_api: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    env = environment(tmp_path, prefect_api)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    board = JsonFileAdapter("board.json")
    board.prepare(["Todo", "In Progress", "Done"])
    name = app_name("anew")
    script = tmp_path / "run.py"
    script.write_text(RUN.format(name=name))
    first = board.create_task("Todo", "First").id

    def ready() -> Serving | None:
        return find_serving("run.py:dispatcher", changed_too=True)

    with tidied(prefect_api, name), (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            before = wait_until("it is served", ready)
            assert before is not None and before.pid == process.pid
            script.write_text(RUN.format(name=name) + "\nbroken(\n")
            refused = cli("restart")
            assert refused.code == 2
            assert "SyntaxError" in refused.err and "goes on as it is" in refused.err

            script.write_text(RUN.format(name=name).replace("the first", "the second"))
            wait_until("an agent works", lambda: in_progress(board) == [first])
            restart = subprocess.Popen(
                [ATHANORE, "restart"], env=env, stdout=subprocess.PIPE, text=True
            )
            log_says(tmp_path / "log", "may finish within 60 s")
            Path("go").touch()
            said, _ = restart.communicate(timeout=120)
            assert restart.returncode == 0 and "has begun anew" in said
            after = ready()
            assert after is not None
            assert (after.pid, after.since > before.since) == (process.pid, True)
            assert board.get_task(first).queue_name == "Done"
            second = board.create_task("Todo", "Second").id
            cli.ok("dispatch", second)
            log_says(tmp_path / "log", "the second")
            cli.ok("stop")
            assert process.wait(120) == 0
        finally:
            process.kill()
            process.wait()


def in_progress(board: JsonFileAdapter) -> list[str]:
    """The ids of the tasks that agents have."""
    return [t.id for t in board.get_ready_tasks(["In Progress"])]


def log_says(log: Path, words: str) -> None:
    """Wait until the app has logged something."""
    wait_until(f"the log says {words!r}", lambda: words in log.read_text())
