"""A worker that is killed between a pull request and the word about it on the card."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN
from tests.acceptance.system import System
from tests.repositories import ALONE, Repository, git
from tests.support import wait_until

SCRIPT = f"""\
from athanore import AgentDispatcher, GitHubForge, GitWorkspace, JsonFileAdapter

dispatcher = AgentDispatcher(
    name="killed", command="my-agent", poll_interval=1,
    queue_backend=JsonFileAdapter("board.json"),
    workspace=GitWorkspace(
        "./toy.git", root="spaces",
        forge=GitHubForge("octo-org/website", url="ADDRESS", remote="./toy.git"),
    ),
)

@dispatcher.route("Todo", done_queue="Done", publish="pull-request", env={ALONE!r})
def todo(task_id: str, task_name: str) -> str:
    return task_name

if __name__ == "__main__":
    dispatcher.run()
"""

AGENT = """\
import os, pathlib, subprocess, sys
assert "TOKEN" not in repr(os.environ)
with open(pathlib.Path(sys.argv[1]) / "attempts", "a") as file:
    file.write("attempt\\n")
pathlib.Path("one.txt").write_text("new")
subprocess.run(["git", "add", "one.txt"], check=True)
subprocess.run(["git", "commit", "-q", "-m", "Write one.txt"], check=True)
"""

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(400)]


def test_it_is_opened_once_and_said_once(tmp_path: Path) -> None:
    with github_double() as github:
        github.forge(tmp_path / "toy.git")
        queues = {"Todo": [{"id": "1", "name": "Fix it"}], "In Progress": [], "Done": []}
        system = System(tmp_path, SCRIPT.replace("ADDRESS", github.url), {"queues": queues})
        repository = Repository(tmp_path / "toy.git")
        agent = tmp_path / "agent.py"
        agent.write_text(AGENT.replace("TOKEN", TOKEN))
        system.add_program("my-agent", sys.executable, "-I", "-S", agent, tmp_path)
        try:
            request = f"POST /repos/{github.repository}/pulls"
            github.wire.before[request] = lambda: system.signal(signal.SIGKILL)
            system.start(GITHUB_TOKEN=TOKEN)
            system.wait()
            wait_until("it is opened all the same", lambda: github.pulls.listed("all", ""))
            assert "comments" not in system.task("1")
            system.start(GITHUB_TOKEN=TOKEN)
            wait_until("it is published", lambda: system.ids_in("Done") == ["1"], 150)
            system.signal(signal.SIGINT)
            system.wait()
        finally:
            system.kill()
        (pull,) = github.pulls.listed("all", "")
    (comment,) = system.task("1")["comments"]
    assert comment["text"].startswith(f"Published: {pull['html_url']} (")
    assert (tmp_path / "attempts").read_text() == "attempt\n"
    assert git(repository.path, "rev-list", "--count", "main..athanore/1-fix-it") == "1"
