"""Nothing is published before a person says yes, over a worker that is killed while it waits."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from athanore.testing.doubles.github import github_double
from athanore.testing.doubles.github.server import TOKEN
from tests.acceptance.system import System
from tests.repositories import ALONE, Repository, git
from tests.support import wait_until

SCRIPT = f"""\
from athanore import AgentDispatcher, GitHubForge, GitWorkspace, JsonFileAdapter

dispatcher = AgentDispatcher(
    name="approved", command="my-agent", poll_interval=1,
    queue_backend=JsonFileAdapter("board.json"),
    workspace=GitWorkspace(
        "./toy.git", root="spaces",
        forge=GitHubForge("octo-org/website", url="ADDRESS", remote="./toy.git"),
    ),
)

@dispatcher.route(
    "Todo", done_queue="Done", waiting_queue="Waiting", publish="pull-request",
    approve_before="publish", approve_insecurely=True, env={ALONE!r},
)
def todo(task_id: str, task_name: str) -> str:
    return task_name

if __name__ == "__main__":
    dispatcher.run()
"""

AGENT = """\
import pathlib, subprocess, sys
prompts = pathlib.Path(sys.argv[1]) / "prompts"
prompts.open("a").write(sys.argv[2] + "\\n--\\n")
name = str(prompts.read_text().count("--")) + ".txt"
pathlib.Path(name).write_text("new")
subprocess.run(["git", "add", name], check=True)
subprocess.run(["git", "commit", "-q", "-m", f"Write {name}"], check=True)
"""

pytestmark = [pytest.mark.nightly, pytest.mark.smoke, pytest.mark.timeout(400)]


def test_a_no_goes_back_to_the_agent_and_a_yes_opens_the_pull_request(tmp_path: Path) -> None:
    with github_double() as github:
        github.forge(tmp_path / "toy.git")
        queues: dict[str, Any] = {"Todo": [{"id": "1", "name": "Fix it"}]}
        queues |= {"In Progress": [], "Waiting": [], "Done": []}
        system = System(tmp_path, SCRIPT.replace("ADDRESS", github.url), {"queues": queues})
        repository = Repository(tmp_path / "toy.git")
        agent = tmp_path / "agent.py"
        agent.write_text(AGENT)
        system.add_program("my-agent", sys.executable, "-I", "-S", agent, tmp_path)

        def asked() -> list[dict[str, Any]]:
            return system.get("/questions").json() if system.ids_in("Waiting") else []

        def untouched() -> bool:
            return repository.branches() == ["main"] and not github.pulls.listed("all", "")

        try:
            system.start(GITHUB_TOKEN=TOKEN)
            wait_until("it waits for a person", lambda: bool(asked()), 60)
            (first,) = asked()
            assert "- Write 1.txt" in first["question"] and untouched()
            system.signal(signal.SIGKILL)
            system.wait()
            system.start(GITHUB_TOKEN=TOKEN)
            assert asked() == [first] and untouched()
            said = {"by": "eve", "reason": "a second file, please"}
            assert system.post("/tasks/1/reject", said).status_code == 200
            wait_until(
                "it asks again",
                lambda: [q["id"] for q in asked()] not in ([], [first["id"]]),
                90,
            )
            assert "    a second file, please" in (tmp_path / "prompts").read_text()
            (second,) = asked()
            assert "- Write 1.txt\n- Write 2.txt" in second["question"] and untouched()
            assert system.post("/tasks/1/approve", {"by": "eve"}).status_code == 200
            wait_until("it is published", lambda: system.ids_in("Done") == ["1"], 60)
            system.signal(signal.SIGINT)
            system.wait()
        finally:
            system.kill()
        (pull,) = github.pulls.listed("all", "")
    assert pull["title"] == "Fix it"
    assert git(repository.path, "rev-list", "--count", "main..athanore/1-fix-it") == "2"
    texts = [c["text"] for c in system.task("1")["comments"]]
    assert texts[-1].startswith(f"Published: {pull['html_url']} (")
