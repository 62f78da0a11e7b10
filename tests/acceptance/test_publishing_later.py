"""A task that its agent has moved on itself while its repository is away, over a kill of all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.system import System
from tests.harness import Prefect
from tests.repositories import ALONE, Repository, git
from tests.support import wait_until

SCRIPT = f"""\
from athanore import AgentDispatcher, GitWorkspace, JsonFileAdapter

dispatcher = AgentDispatcher(
    name="later", command="my-agent", poll_interval=1,
    queue_backend=JsonFileAdapter("board.json"),
)

@dispatcher.route(
    "Todo", done_queue="Done", publish="branch", env={ALONE!r},
    workspace=GitWorkspace("./toy.git", root="spaces"),
)
def todo(task_id: str, task_name: str) -> str:
    return task_name

@dispatcher.route("Review", done_queue="Done")
def review(task_id: str, task_name: str) -> str:
    return task_name

if __name__ == "__main__":
    dispatcher.run()
"""

AGENT = """\
import json, os, pathlib, subprocess, sys, urllib.request

here, queue = pathlib.Path(sys.argv[1]), os.environ["ATHANORE_QUEUE"]
repository = here / "toy.git"
heads = ["git", "--git-dir", str(repository), "for-each-ref", "--format=%(refname:short)"]
known = subprocess.run([*heads, "refs/heads"], capture_output=True, text=True).stdout.split()
with open(here / "began", "a") as file:
    file.write(json.dumps([queue, known]) + "\\n")
if queue == "Todo":
    pathlib.Path("one.txt").write_text("new")
    subprocess.run(["git", "add", "one.txt"], check=True)
    subprocess.run(["git", "commit", "-q", "-m", "Write one.txt"], check=True)
    repository.rename(here / "away")
    repository.mkdir()  # a start looks only whether it is there
    headers = {"Content-Type": "application/json"}
    headers["Authorization"] = f"Bearer {os.environ['ATHANORE_TOKEN']}"
    url = f"{os.environ['ATHANORE_API_URL']}/tasks/1/move"
    body = json.dumps({"target_queue": "Review"}).encode()
    urllib.request.urlopen(urllib.request.Request(url, body, headers)).close()
"""

pytestmark = [pytest.mark.nightly, pytest.mark.smoke, pytest.mark.timeout(400)]


def test_it_is_published_by_the_next_start_and_goes_where_its_agent_had_put_it(
    tmp_path: Path,
) -> None:
    queues: dict[str, Any] = {"Todo": [{"id": "1", "name": "Fix it"}]}
    queues |= {"In Progress": [], "Review": [], "Done": []}
    system = System(tmp_path, SCRIPT, {"queues": queues})
    repository = Repository(tmp_path / "toy.git")
    agent = tmp_path / "agent.py"
    agent.write_text(AGENT)
    system.add_program("my-agent", sys.executable, "-I", "-S", agent, tmp_path)

    def said() -> list[str]:
        return [c["text"] for c in system.task("1").get("comments", ())]

    def waits() -> bool:
        return "The task goes to 'Review' when it is published." in said()

    def tries() -> int:
        prefect = Prefect(system.prefect_url, "later")
        return prefect.states(prefect.runs("1")[0]["id"]).count("Waiting to publish")

    try:
        system.start()
        wait_until("it waits for its repository", waits, 90)
        assert system.ids_in("In Progress") == ["1"]
        before = tries()
        system.kill()  # Prefect as well
        assert system.ids_in("In Progress") == ["1"]
        system.start()
        wait_until("it is tried again", lambda: tries() > before, 90)
        assert system.ids_in("In Progress") == ["1"]
        repository.path.rmdir()
        (tmp_path / "away").rename(repository.path)
        wait_until("its reviewer is done, too", lambda: system.ids_in("Done") == ["1"], 90)
    finally:
        system.kill()
    branch = "athanore/1-fix-it"
    assert (tmp_path / "began").read_text().splitlines() == [
        '["Todo", ["main"]]',
        f'["Review", ["{branch}", "main"]]',
    ]
    assert git(repository.path, "rev-list", "--count", f"main..{branch}") == "1"
    assert said()[0].startswith("Not published yet: ")
    assert [text for text in said() if text.startswith("Published: ")]
    assert [text[:20] for text in said()].count(said()[0][:20]) == 1
