"""Ten tasks in folders of their own: three agents at once, a worker that is killed, one retry, one
check that fails, and ten branches that are published."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.system import System
from tests.repositories import ALONE, Repository, git
from tests.support import wait_until

TASKS = [str(number) for number in range(1, 11)]
FAILS_ONCE = "5"
UNCHECKED_ONCE = "7"

SCRIPT = f"""\
from athanore import AgentDispatcher, GitWorkspace, JsonFileAdapter

dispatcher = AgentDispatcher(
    name="ten", command="my-agent", poll_interval=1, max_concurrent_agents=3, max_retries=1,
    queue_backend=JsonFileAdapter("board.json"),
    workspace=GitWorkspace("./toy.git", root="spaces", setup="git config toy.ready yes"),
)

@dispatcher.route(
    "Todo", done_queue="Done", retry_delay=0, env={ALONE!r}, check="my-check", publish="branch"
)
def todo(task_id: str, task_name: str) -> str:
    return task_name

if __name__ == "__main__":
    dispatcher.run()
"""

AGENT = """\
import os, pathlib, subprocess, sys, time

def git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout

def step(number):
    message = f"Task {task}: step {number}"
    if message not in git("log", "--format=%s").splitlines():
        pathlib.Path(f"step-{number}.txt").write_text(task)
        git("add", f"step-{number}.txt")
        git("commit", "-q", "-m", message)

outside, task = pathlib.Path(sys.argv[1]), os.environ["ATHANORE_TASK_ID"]
assert git("config", "toy.ready") == "yes\\n"
assert git("branch", "--show-current").strip() == os.environ["ATHANORE_BRANCH"]
with open("attempts.log", "a") as file:
    file.write("attempt\\n")
step(1)
pathlib.Path("draft.txt").write_text(task)
(outside / f"held-{task}").touch()
while (outside / "hold").exists():
    time.sleep(0.02)
if task == "FAILS" and not (outside / "failed").exists():
    (outside / "failed").touch()
    sys.exit(3)
pathlib.Path("draft.txt").unlink()
step(2)
"""

CHECK = """\
import os, pathlib, sys

outside, task = pathlib.Path(sys.argv[1]), os.environ["ATHANORE_TASK_ID"]
if task == "UNCHECKED" and not (outside / "checked").exists():
    (outside / "checked").touch()
    print("one test failed")
    sys.exit(1)
assert "ATHANORE_TOKEN" not in os.environ
assert pathlib.Path("step-2.txt").read_text() == task
"""

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(400)]


class Ten:
    """What is left when all ten are done."""

    def __init__(self, folder: Path) -> None:
        self.system = System(
            folder,
            SCRIPT,
            {
                "queues": {
                    "Todo": [{"id": i, "name": f"Task {i}"} for i in TASKS],
                    "In Progress": [],
                    "Done": [],
                }
            },
        )
        self.repository = Repository(folder / "toy.git")
        agent = folder / "agent.py"
        agent.write_text(AGENT.replace("FAILS", FAILS_ONCE))
        self.system.add_program("my-agent", sys.executable, "-I", "-S", agent, folder)
        check = folder / "check.py"
        check.write_text(CHECK.replace("UNCHECKED", UNCHECKED_ONCE))
        self.system.add_program("my-check", sys.executable, "-I", "-S", check, folder)
        self.killed: list[str] = []

    def play(self) -> None:
        system, hold = self.system, self.system.folder / "hold"
        hold.touch()
        system.start()
        wait_until("three agents are at work", lambda: len(self._held()) == 3)
        self.killed = self._held()
        system.signal(signal.SIGKILL)
        system.wait()
        hold.unlink()
        system.start()
        wait_until("all are done", lambda: len(system.ids_in("Done")) == len(TASKS), 200)
        system.signal(signal.SIGINT)
        system.wait()

    def _held(self) -> list[str]:
        found = self.system.folder.glob("held-*")
        return sorted(file.name.removeprefix("held-") for file in found)

    @property
    def home(self) -> Path:
        (home,) = (self.system.folder / "spaces").iterdir()
        return home

    def folder(self, task: str) -> Path:
        return self.home / "tasks" / "ten" / task / "toy"

    def mirror(self, *words: str) -> str:
        return git(self.home / "mirror.git", *words)


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ten]:
    ten = Ten(tmp_path_factory.mktemp("ten"))
    try:
        ten.play()
        yield ten
    finally:
        ten.system.kill()


def test_each_branch_holds_each_commit_once(ten: Ten) -> None:
    for task in TASKS:
        branch = f"refs/athanore/ten/{task}/folder/heads/athanore/{task}-task-{task}"
        found = ten.mirror("log", "--reverse", "--format=%s", f"main..{branch}").splitlines()
        assert found == [f"Task {task}: step {number}" for number in (1, 2)]
        assert ten.mirror("rev-parse", branch) == git(ten.folder(task), "rev-parse", "HEAD")


def test_each_branch_is_published_as_it_is_and_nothing_else(ten: Ten) -> None:
    branches = {task: f"athanore/{task}-task-{task}" for task in TASKS}
    path = ten.repository.path
    assert sorted(ten.repository.branches()) == sorted([*branches.values(), "main"])
    assert git(path, "rev-parse", "main") == ten.repository.first
    for task, branch in branches.items():
        assert git(path, "rev-parse", branch) == git(ten.folder(task), "rev-parse", "HEAD")
        files = git(path, "ls-tree", "-r", "--name-only", branch).splitlines()
        assert files == [".gitignore", "README.md", "step-1.txt", "step-2.txt"]
    assert not git(path, "for-each-ref", "refs/athanore", "refs/tags")


def test_the_check_that_failed_cost_an_attempt_and_no_commit(ten: Ten) -> None:
    first, *others = [c["text"] for c in ten.system.task(UNCHECKED_ONCE)["comments"]]
    assert first.startswith("Retry 1/1: check failed: my-check (exit 1).")
    assert "one test failed" in first
    assert [text.partition(":")[0] for text in others] == ["Checked", "Published"]


def test_there_is_one_folder_for_each_task_and_nothing_half_made(ten: Ten) -> None:
    homes = sorted((ten.home / "tasks" / "ten").iterdir(), key=lambda home: int(home.name))
    assert [home.name for home in homes] == TASKS
    for home in homes:
        assert sorted(entry.name for entry in home.iterdir()) == ["lock", "record.json", "toy"]
        assert git(home / "toy", "status", "--porcelain") == ""


def test_what_the_killed_attempts_left_is_kept(ten: Ten) -> None:
    assert len(ten.killed) == 3
    for task in ten.killed:
        assert ten.mirror("show", f"refs/athanore/ten/{task}/1:draft.txt") == task
        assert (ten.folder(task) / "attempts.log").read_text() == "attempt\n" * 2


def test_the_retry_went_on_where_the_first_attempt_was(ten: Ten) -> None:
    comment = ten.system.task(FAILS_ONCE)["comments"][0]
    assert comment["text"].startswith("Retry 1/1: exit code 3.")
    refs = ten.mirror("for-each-ref", "--format=%(refname)", f"refs/athanore/ten/{FAILS_ONCE}")
    assert f"refs/athanore/ten/{FAILS_ONCE}/2" in refs.splitlines()
    assert ten.mirror("show", f"refs/athanore/ten/{FAILS_ONCE}/1:draft.txt") == FAILS_ONCE


def test_nothing_is_left_at_work(ten: Ten) -> None:
    assert ten.system.processes() == []
