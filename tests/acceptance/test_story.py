"""The main job: the README's script, run as a user would, with agents that are real programs.

One story, told once: six tasks, of which five are done; Ctrl-C while an agent is at work; a second
start, from the installed wheel, which goes on. The tests then look at what was seen.
"""

from __future__ import annotations

import getpass
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from athanore.processes.family import MARK
from tests.acceptance.system import System, readme_block
from tests.support import LOCAL, wait_until

NAMES = ["Fix crash", "Write docs", "Add tests", 'It\'s "quoted"; $HOME `x` && *', "Fünf", "Six"]
BOARD = {
    "queues": {
        "Todo": [{"id": str(i), "name": n, "points": i} for i, n in enumerate(NAMES, 1)],
        "In Progress": [],
        "Done": [],
    }
}

pytestmark = pytest.mark.timeout(900)


@dataclass
class Story:
    """What was seen, in the order of the chapters."""

    started: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    claimed: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    waiting: list[str] = field(default_factory=list[str])
    status: dict[str, Any] = field(default_factory=dict[str, Any])
    server: dict[str, str] = field(default_factory=dict[str, str])
    agents: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    pages: dict[str, int] = field(default_factory=dict[str, int])
    done: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    journal: list[str] = field(default_factory=list[str])
    interrupted: dict[str, Any] = field(default_factory=dict[str, Any])
    exit_codes: list[int] = field(default_factory=list[int])
    left: list[list[str]] = field(default_factory=list[list[str]])
    resumed: dict[str, Any] = field(default_factory=dict[str, Any])
    hurried: dict[str, Any] = field(default_factory=dict[str, Any])
    log: str = ""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, installed_python: Path) -> Iterator[Story]:
    """Tell the story."""
    folder = tmp_path_factory.mktemp("story")
    system = System(folder, readme_block("python", "engineer_agent"), BOARD)
    (folder / "readme-agent").write_text(readme_block("sh", "#!/bin/sh"))
    agent = Path(__file__).with_name("my_agent.py")
    system.add_program(
        "my-agent", sys.executable, "-I", "-S", agent, folder, folder / "readme-agent"
    )
    story = Story()
    try:
        _first_start(system, story)
        _second_start(system, story, installed_python)
        story.log = system.log.read_text()
        yield story
    finally:
        system.kill()


def _started(system: System) -> dict[str, dict[str, Any]]:
    files = sorted(system.folder.glob("started-?"))
    return {f.name.removeprefix("started-"): json.loads(f.read_text()) for f in files}


def _first_start(system: System, story: Story) -> None:
    system.start(ATHANORE_SHUTDOWN_GRACE="1", PREFECT_API_KEY="pnu_secret", ATHANORE_API_KEY="k3y")
    wait_until("three agents have started", lambda: len(_started(system)) == 3)
    wait_until(
        "every task has its run",
        lambda: all(system.get(f"/tasks/{i}").json()["active_run"] for i in range(1, 7)),
    )
    story.started = _started(system)
    story.claimed, story.waiting = system.board()["In Progress"], system.ids_in("Todo")
    story.status = system.get("/status").json()
    story.server = system.environment_of("athanore.launch.prefect.prefect_app:create_app")
    story.agents = system.get("/agents").json()
    story.pages = {
        "API docs": system.get("/docs").status_code,
        "Prefect UI": LOCAL.get(story.status["prefect"]["ui_url"], timeout=60).status_code,
    }
    for number in range(1, 6):
        (system.folder / f"go-{number}").touch()
    wait_until("five tasks are done", lambda: system.ids_in("Done") == ["1", "2", "3", "4", "5"])
    wait_until("the sixth has its agent", lambda: "6" in _started(system))
    story.done = system.board()["Done"]
    story.journal = (system.folder / "journal").read_text().splitlines()
    _stop(system, story, signal.SIGINT)
    story.interrupted = {"queues": system.board(), "task": system.task("6")}


def _second_start(system: System, story: Story, python: Path) -> None:
    (system.folder / "started-6").unlink()
    (system.folder / "go-6").touch()
    system.start(python, ATHANORE_SHUTDOWN_GRACE="3600")
    wait_until("the sixth task is done", lambda: "6" in system.ids_in("Done"))
    story.resumed = {"task": system.task("6"), "started": _started(system)["6"]}
    created = system.post("/tasks", {"queue_name": "Todo", "name": "From outside"}).json()
    new = created["id"]
    wait_until("the new task has its agent", lambda: new in _started(system))
    system.signal(signal.SIGTERM)
    wait_until(
        "it waits for agents", lambda: system.log.read_text().count("may finish within") == 2
    )
    _stop(system, story, signal.SIGTERM)
    story.hurried = {"queues": system.board(), "task": system.task(new)}


def _stop(system: System, story: Story, sign: signal.Signals) -> None:
    system.signal(sign)
    story.exit_codes.append(system.wait())
    story.left.append(system.processes())


def test_the_prefect_server_has_no_key_of_ours(story: Story) -> None:
    assert story.server["PREFECT_HOME"]
    assert [name for name in story.server if name.startswith("ATHANORE_")] == [MARK]


def test_ready_tasks_are_claimed_for_the_user_and_the_rest_waits(story: Story) -> None:
    assert len(story.claimed) == 3
    assert [t["assignees"] for t in story.claimed] == [[getpass.getuser()]] * 3
    assert len(story.waiting) == 3


def test_each_agent_gets_the_command_line_that_the_route_says(story: Story) -> None:
    for task_id, started in story.started.items():
        prompt = f"Work on task {task_id}: {NAMES[int(task_id) - 1]}."
        assert started["argv"] == ["--agent", "engineer", "-p", prompt]


def test_an_agent_is_told_where_it_is_and_no_secrets(story: Story) -> None:
    for task_id, started in story.started.items():
        env = started["env"]
        assert env["ATHANORE_API_URL"] == story.status["api_url"]
        assert env["ATHANORE_TASK_ID"] == task_id
        assert env["ATHANORE_TASK_NAME"] == NAMES[int(task_id) - 1]
        assert env["ATHANORE_QUEUE"] == "Todo"
        assert env["ATHANORE_ATTEMPT"] == "1"
        assert not {"PREFECT_API_KEY", "ATHANORE_API_KEY"} & env.keys()


def test_never_more_than_three_agents_work_at_once(story: Story) -> None:
    working = most = 0
    for line in story.journal:
        working += 1 if line == "start" else -1
        most = max(most, working)
    assert most == 3


def test_the_api_knows_the_agents_at_work(story: Story) -> None:
    assert sorted(a["task_id"] for a in story.agents) == sorted(story.started)
    assert story.status["active_agents"] == 3


def test_the_ui_and_the_docs_are_there(story: Story) -> None:
    assert story.pages == {"API docs": 200, "Prefect UI": 200}
    assert f"Prefect: {story.status['prefect']['ui_url']}" in story.log


def test_agents_do_their_work_with_curl_alone(story: Story) -> None:
    for task in story.done:
        assert [c["text"] for c in task["comments"]] == ["Done."], task


def test_fields_that_we_do_not_know_stay_in_the_file(story: Story) -> None:
    assert {t["id"]: t["points"] for t in story.done} == {str(i): i for i in range(1, 6)}


def test_an_interrupted_task_goes_back_to_its_queue(story: Story) -> None:
    assert [t["id"] for t in story.interrupted["queues"]["Todo"]] == ["6"]
    assert story.interrupted["queues"]["In Progress"] == []
    (comment,) = story.interrupted["task"]["comments"]
    assert comment["text"] == "Worker is shutting down; returned to queue, attempt 1."


def test_a_second_start_goes_on(story: Story) -> None:
    assert [c["text"] for c in story.resumed["task"]["comments"]][-1] == "Done."
    # An attempt that a shutdown cut off is not counted.
    assert story.resumed["started"]["env"]["ATHANORE_ATTEMPT"] == "1"


def test_a_second_signal_does_not_wait_for_agents(story: Story) -> None:
    assert [t["name"] for t in story.hurried["queues"]["Todo"]] == ["From outside"]
    (comment,) = story.hurried["task"]["comments"]
    assert comment["text"] == "Worker is shutting down; returned to queue, attempt 1."


def test_both_stops_are_clean_and_leave_no_process(story: Story) -> None:
    assert story.exit_codes == [0, 0]
    assert story.left == [[], []]


@pytest.mark.parametrize(
    "trouble",
    [
        "Exception in ASGI application",
        "ended in an error of the worker",
        "--- Error logging to API",
        "--- Logging error",
        "was never retrieved",
        "was never awaited",
    ],
)
def test_the_log_tells_of_no_trouble(story: Story, trouble: str) -> None:
    assert trouble not in story.log
