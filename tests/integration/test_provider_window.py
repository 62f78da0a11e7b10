"""A usage window with many tasks: two routes of one account, workers on two hosts, restarts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from athanore import JsonFileAdapter
from tests import hosts
from tests.harness import Prefect, app_name
from tests.support import clean_environment, free_port, prefect_server, wait_until

CLI = "from athanore.cli import main; main()"
WINDOW = 25

SCRIPT = """\
import asyncio, json, socket, time
from datetime import UTC, datetime
from pathlib import Path

from athanore import AgentDispatcher, AgentOutcome, AgentResult, JsonFileAdapter
from athanore.models import Fault, FaultKind

HERE = Path({folder!r})


class Metered:
    def account(self, env):
        return {name!r}

    async def run(self, job):
        try:
            with (HERE / "opens").open("x") as opens:
                opens.write(str(time.time() + {window}))
        except FileExistsError:
            pass
        began, opens = time.time(), float((HERE / "opens").read_text())
        served = began >= opens
        await asyncio.sleep(3 if served and not self.served() else 0.2)
        with (HERE / "record").open("a") as record:
            said = [socket.gethostname(), job.task.id, served, began, time.time()]
            record.write(json.dumps(said) + "\\n")
        if served:
            return AgentResult(AgentOutcome.SUCCEEDED)
        reset = datetime.fromtimestamp(opens, UTC)
        fault = Fault(FaultKind.PROVIDER, retry_at=reset, text="5-hour")
        return AgentResult(AgentOutcome.FAILED, "provider limit (5-hour)", fault=fault)

    def served(self):
        return "true" in (HERE / "record").read_text()


dispatcher = AgentDispatcher(
    name={name!r}, queue_backend=JsonFileAdapter(HERE / "board.json"), poll_interval=1,
    default_agent=Metered(), max_retries=0, dead_letter_queue="Failed", max_concurrent_agents=8,
)

def prompt(task_id: str, task_name: str) -> str:
    return task_name

dispatcher.route("Todo", in_progress_queue="In Progress", done_queue="Done")(prompt)
dispatcher.route("Later", in_progress_queue="In Progress", done_queue="Done")(prompt)
"""


class Attempt(NamedTuple):
    """What an agent has said of an attempt."""

    host: str
    task: str
    served: bool
    began: float
    ended: float


class Site:
    """A folder that both hosts share: the app, its board, what its agents have said."""

    def __init__(self, folder: Path) -> None:
        self.name = app_name("window")
        self.folder, self.record = folder, folder / "record"
        self.record.touch()
        (folder / "run.py").write_text(
            SCRIPT.format(name=self.name, folder=str(folder), window=WINDOW)
        )
        queues = ("Todo", "Later", "In Progress", "Done", "Failed")
        (folder / "board.json").write_text(json.dumps({"queues": {q: [] for q in queues}}))
        self.board = JsonFileAdapter(folder / "board.json")
        self.env = clean_environment(folder / "home") | {
            "ATHANORE_APP": "run.py:dispatcher",
            "ATHANORE_API_URL": "http://127.0.0.1:9",
        }

    def attempts(self) -> list[Attempt]:
        lines = self.record.read_text().splitlines()
        return [Attempt(*json.loads(line)) for line in lines]

    def counts(self) -> dict[str, int]:
        return {q.name: q.task_count for q in self.board.list_queues()}

    def athanore(self, api: str, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", CLI, *words], cwd=self.folder, check=True, timeout=120,
            env=self.env | {"PREFECT_API_URL": api}, capture_output=True, text=True,
        ).stdout  # fmt: skip

    @contextmanager
    def workers(self, port: int, on: list[hosts.Host], slots: int) -> Generator[None]:
        """A worker on each host, with so many slots; at the end they are killed."""
        with ExitStack() as stack:
            for host in on:
                url = {"PREFECT_API_URL": f"http://{host.hub}:{port}/api"}
                command = (sys.executable, "-c", CLI, "worker", "--limit", str(slots))
                stack.enter_context(host.running(*command, cwd=self.folder, env=self.env | url))
            yield


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_fifty_tasks_on_two_hosts_wait_for_the_reset_over_a_restart_of_everything(
    tmp_path: Path,
) -> None:
    hosts.require()
    site, port, home = Site(tmp_path), free_port(), tmp_path / "prefect"
    tasks = [site.board.create_task(q, "One").id for q in ("Todo", "Later") for _ in range(25)]
    with ExitStack() as stack:
        both = stack.enter_context(hosts.hosts("host-a", "host-b"))
        stack.enter_context(hosts.relayed(port, [host.hub for host in both]))
        with prefect_server(home, port=port) as api:
            site.athanore(api, "deploy")
            with site.workers(port, both, 1):
                wait_until(
                    "both routes wait for their provider",
                    lambda: site.athanore(api, "status").count("Provider limit (5-hour)") >= 2,
                )
        refused = site.attempts()
        assert not any(a.served for a in refused)
        assert 1 <= len(refused) <= 2 and len({a.host for a in refused}) == len(refused)
        with prefect_server(home, port=port) as api, site.workers(port, both, 4):
            wait_until("all are done", lambda: site.counts()["Done"] == len(tasks), 600)
            prefect = Prefect(api, site.name)
            assert {prefect.ended(t)["state_type"] for t in tasks} == {"COMPLETED"}
    served = site.attempts()[len(refused) :]
    assert all(a.served for a in served), "none is refused after the restart"
    assert sorted(a.task for a in served) == sorted(tasks)
    first, *others = sorted(served, key=lambda a: a.began)
    assert all(other.began >= first.ended for other in others), "one goes first"
    assert {a.host for a in served} == {"host-a", "host-b"}
    assert site.counts() == {"Todo": 0, "Later": 0, "In Progress": 0, "Done": 50, "Failed": 0}
    comments = [c.text for t in tasks for c in site.board.get_task(t).comments]
    assert len([c for c in comments if c.startswith("Provider limit (5-hour)")]) == len(refused)
