"""Two workers in folders of their own, as two hosts, on one Prefect: where a task's stages go on.

Each has a home and folders of tasks that the other cannot use; a repository and a board are common.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from tests import hosts
from tests.harness import app_name
from tests.repositories import ALONE, Repository, git
from tests.support import clean_environment, stop_group, wait_until

CLI = "from athanore.cli import main; main()"
TASKS = ("1", "2", "3", "4")

SCRIPT = """\
from athanore import AgentDispatcher, GitWorkspace, JsonFileAdapter

dispatcher = AgentDispatcher(
    name={name!r}, command={command!r}, poll_interval=2, max_concurrent_agents=8,
    queue_backend=JsonFileAdapter({board!r}),
    workspace=GitWorkspace({repository!r}, root="spaces", share={share!r}),
)

@dispatcher.route("Todo", done_queue="Review", env={env!r})
def work(task_id: str, task_name: str) -> str:
    return "work"

@dispatcher.route(
    "Review", in_progress_queue="Reviewing", done_queue="Done", env={env!r}, host={host!r}
)
def review(task_id: str, task_name: str) -> str:
    return "review"
"""

AGENT = """\
import os, pathlib, socket, subprocess, sys, time
outside, what, task = pathlib.Path(sys.argv[1]), sys.argv[2], os.environ["ATHANORE_TASK_ID"]
host = socket.gethostname()
def git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout
if what == "work":
    pathlib.Path("work.txt").write_text(host)
    git("add", "work.txt")
    git("commit", "-q", "-m", "Work of " + host)
    pathlib.Path("draft.txt").write_text(host)
    (outside / f"works-{task}").touch()
    while not (outside / "go").exists():
        time.sleep(0.1)
    said = host
else:
    draft = pathlib.Path("draft.txt")
    subjects = git("log", "--format=%s", os.environ["ATHANORE_BASE"] + "..").strip()
    said = f"{host}: {subjects}, draft of {draft.read_text() if draft.exists() else 'nobody'}"
(outside / f"{what}-{task}").write_text(said)
"""

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(400)]


class Sites:
    """What the two hosts have in common, and what their agents write down."""

    def __init__(self, folder: Path, prefect_api: str, *, share: bool, host: str | None) -> None:
        self.folder, self.outside = folder, folder / "outside"
        self.outside.mkdir()
        repository = Repository(folder / "toy.git")
        place = folder / "share.git"
        if share:
            place.mkdir()
            git(place, "init", "-q", "--bare")
        agent = folder / "agent.py"
        agent.write_text(AGENT)
        queues = ("Todo", "In Progress", "Review", "Reviewing", "Done")
        tasks = {queue: [] for queue in queues} | {"Todo": [{"id": t, "name": t} for t in TASKS]}
        (folder / "board.json").write_text(json.dumps({"queues": tasks}))
        self.board = JsonFileAdapter(folder / "board.json")
        self.script = SCRIPT.format(
            name=app_name("folders"), command=f"{sys.executable} -I -S {agent} {self.outside}",
            board=str(folder / "board.json"), repository=str(repository.path), env=ALONE,
            share=str(place) if share else None, host=host,
        )  # fmt: skip
        self.prefect_api = prefect_api

    def home(self, name: str) -> tuple[Path, dict[str, str]]:
        """A folder with the app, and the environment of its worker."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        (home / "run.py").write_text(self.script)
        env = clean_environment(home / "prefect") | {
            "PREFECT_API_URL": self.prefect_api, "ATHANORE_APP": "run.py:dispatcher",
            "ATHANORE_HOME": str(home / "athanore"), "ATHANORE_API_URL": "http://127.0.0.1:9",
            "HOME": str(home),
        }  # fmt: skip
        return home, env

    def start(self, stack: ExitStack, name: str) -> None:
        """Start a worker on a host of this name, which has it as a label."""
        home, env = self.home(name)
        own = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]
        command = [sys.executable, "-c", CLI, "worker", "--limit", "2", "--host-labels", name]
        with (home / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [*own, *command], cwd=home, env=env, stdout=log, stderr=log, start_new_session=True
            )
        stack.callback(stop_group, process)

    def deploy(self, name: str) -> None:
        home, env = self.home(name)
        subprocess.run(
            [sys.executable, "-c", CLI, "deploy"], cwd=home, env=env, check=True, timeout=120,
            capture_output=True,
        )  # fmt: skip

    def wrote(self, what: str) -> dict[str, str]:
        """What agents have written down, by task."""
        found = {t: self.outside / f"{what}-{t}" for t in TASKS}
        return {t: file.read_text() for t, file in found.items() if file.exists()}

    def both_worked(self) -> dict[str, str]:
        """Have both hosts take two tasks each; returns which host has had which."""
        with ExitStack() as stack:
            self.deploy("host-a")
            for name in ("host-a", "host-b"):
                self.start(stack, name)
            wait_until("both hosts are at work", lambda: len(self.wrote("works")) == len(TASKS), 90)
            (self.outside / "go").touch()
            wait_until(
                "all are reviewed", lambda: len(self.board.get_ready_tasks(["Done"])) == 4, 90
            )
        worked = self.wrote("work")
        assert sorted(worked.values()) == ["host-a", "host-a", "host-b", "host-b"]
        return worked


def test_without_share_each_task_stays_with_its_host(tmp_path: Path, prefect_api: str) -> None:
    hosts.require()
    sites = Sites(tmp_path, prefect_api, share=False, host=None)
    worked = sites.both_worked()
    assert sites.wrote("review") == {
        task: f"{host}: Work of {host}, draft of {host}" for task, host in worked.items()
    }


def test_with_share_the_next_stage_goes_on_from_there_on_another_host(
    tmp_path: Path, prefect_api: str
) -> None:
    hosts.require()
    sites = Sites(tmp_path, prefect_api, share=True, host="host-b")
    worked = sites.both_worked()
    assert sites.wrote("review") == {
        task: f"host-b: Work of {host}, draft of {host}" for task, host in worked.items()
    }
    a, b = (sites.folder / name / "spaces" for name in ("host-a", "host-b"))
    assert len(list(a.glob("*/tasks/*/*/toy"))) == 2
    assert len(list(b.glob("*/tasks/*/*/toy"))) == len(TASKS)
