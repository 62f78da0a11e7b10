"""Two hosts that cannot look into each other, with Prefect's own `worker start` on both."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from athanore import JsonFileAdapter
from tests import hosts
from tests.harness import Prefect, app_name
from tests.support import clean_environment, wait_until

LOST_AFTER = 20
CLI = "from athanore.cli import main; main()"

AGENT = """\
#!{python}
import os, pathlib, socket, time
hang = pathlib.Path({hang!r})
while True:
    with open({record!r}, "a") as log:
        log.write(f"{{socket.gethostname()}} {{time.monotonic()}}\\n")
    if not hang.exists():
        break
    time.sleep(0.1)
"""

SCRIPT = """\
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, command={agent!r}, poll_interval=900,
    queue_backend=JsonFileAdapter("board.json"),
)

@dispatcher.route(queue_name="Todo", done_queue="Done")
def work(task_id: str, task_name: str) -> str:
    return task_name
"""


class Site:
    """A folder that both hosts share, with an app, its board and its agents' record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = app_name("hosts")
        self.hang = folder / "hang"
        self.hang.touch()
        self.record = folder / "record.txt"
        agent = folder / "agent.py"
        agent.write_text(
            AGENT.format(python=sys.executable, hang=str(self.hang), record=str(self.record))
        )
        agent.chmod(0o755)
        (folder / "run.py").write_text(SCRIPT.format(name=self.name, agent=str(agent)))
        queues = {"Todo": [{"id": "1", "name": "Fix it"}], "In Progress": [], "Done": []}
        (folder / "board.json").write_text(json.dumps({"queues": queues}))
        self.board = JsonFileAdapter(folder / "board.json")

    def alive(self, host: str) -> list[float]:
        """When a host's agents were alive, by the clock that all hosts share."""
        text = self.record.read_text() if self.record.exists() else ""
        lines = [line.split() for line in text.splitlines()]
        return [float(line[1]) for line in lines if line[0] == host]

    def place(self) -> str:
        return self.board.get_task("1").queue_name


@pytest.mark.nightly
def test_a_run_stays_with_its_host_while_that_is_well_and_no_agent_outlives_its_lease(
    tmp_path: Path, prefect_api: str
) -> None:
    """The workers' names are made up by Prefect. At the cut packets vanish without an error.

    No poll looks meanwhile: what is lost is noticed by the timer of a worker.
    """
    hosts.require()
    site = Site(tmp_path)
    prefect = Prefect(prefect_api, site.name)
    port = urlsplit(prefect_api).port
    assert port is not None
    env = clean_environment(tmp_path / "home") | {
        "ATHANORE_APP": "run.py:dispatcher",
        "ATHANORE_WORKER_LOST_AFTER": str(LOST_AFTER),
        "ATHANORE_API_URL": "http://127.0.0.1:9",
    }
    for command in (["deploy"], ["dispatch", "1"]):
        subprocess.run(
            [sys.executable, "-c", CLI, *command], cwd=tmp_path,
            env=env | {"PREFECT_API_URL": prefect_api}, check=True, timeout=120,
        )  # fmt: skip

    def start(host: hosts.Host, pool: str) -> None:
        url = {"PREFECT_API_URL": f"http://{host.hub}:{port}/api"}
        command = (sys.executable, "-m", "prefect", "worker", "start", "--type", "athanore")
        stack.enter_context(
            host.running(*command, "--pool", f"{site.name}-{pool}", cwd=tmp_path, env=env | url)
        )

    with ExitStack() as stack:
        a, b = stack.enter_context(hosts.hosts("host-a", "host-b"))
        stack.enter_context(hosts.relayed(port, [a.hub, b.hub]))
        start(b, "polls")
        start(a, "agents")
        wait_until("an agent works on a", lambda: site.alive("host-a"))
        start(b, "agents")
        since = time.monotonic()
        wait_until(
            "b could have taken it for lost",
            lambda: time.monotonic() > since + 1.5 * LOST_AFTER,
        )
        assert (site.alive("host-b"), site.board.get_task("1").comments) == ([], ())

        a.cut()
        wait_until("an agent works on b", lambda: site.alive("host-b"))
        first = site.alive("host-b")[0]
        a.connect()
        log = tmp_path / "host-a.log"
        wait_until("a has heard of it", lambda: "its run was taken over" in log.read_text())
        assert site.alive("host-a")[-1] < first, "two agents of one task were alive"
        site.hang.unlink()
        wait_until("the task is done", lambda: site.place() == "Done")
    comments = [c.text for c in site.board.get_task("1").comments]
    assert comments == ["Worker lost; returned to queue, attempt 1."]
    assert len(prefect.runs("1")) == 1
