"""A run that waits for a person, as a user runs it: over kills, an upgrade, late and two answers.

`python run.py` in a folder of its own, with its own Prefect; agents are real programs.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.system import System
from tests.support import wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.smoke, pytest.mark.timeout(600)]

AGENT = r"""
import json, os, pathlib, sys, urllib.request
def call(path, body):
    request = urllib.request.Request(
        os.environ["ATHANORE_API_URL"] + path, json.dumps(body).encode(),
        {"Content-Type": "application/json",
         "Authorization": "Bearer " + os.environ["ATHANORE_TOKEN"]},
    )
    return json.load(urllib.request.urlopen(request))
path = f"/tasks/{os.environ['ATHANORE_TASK_ID']}"
name = os.environ["ATHANORE_TASK_NAME"]
asked = call(path + "/questions", {"question": f"Which colour for {name}?"})
pathlib.Path("starts").open("a").write(f"{name}: {asked['state']} {asked['answer']}\n")
if asked["state"] == "answered":
    call(path + "/comments", {"comment": "Painted " + asked["answer"]})
    if name == "Twice" and os.environ["ATHANORE_ATTEMPT"] == "1":
        sys.exit("the brush broke")
"""

SCRIPT = """
from athanore import AgentDispatcher, JsonFileAdapter

dispatcher = AgentDispatcher(
    "my-agent", name="people", queue_backend=JsonFileAdapter("board.json"), poll_interval=1,
    max_retries=1, dead_letter_queue="Failed",
)


@dispatcher.route("Todo", done_queue="Done", waiting_queue="Waiting", ask_timeout={timeout})
def paint(task_id: str, task_name: str) -> str:
    return "{prompt} " + task_name


if __name__ == "__main__":
    dispatcher.run()
"""

QUEUES = ("Todo", "In Progress", "Waiting", "Done", "Failed")


def script(timeout: object = None, prompt: str = "Paint") -> str:
    return SCRIPT.format(timeout=timeout, prompt=prompt)


class People(System):
    """Such a folder, with tasks whose agents ask."""

    def __init__(self, folder: Path, *names: str, timeout: object = None) -> None:
        board: dict[str, Any] = {"queues": {q: [] for q in QUEUES}}
        board["queues"]["Todo"] = [{"id": str(n), "name": name} for n, name in enumerate(names, 1)]
        super().__init__(folder, script(timeout), board)
        (folder / "agent.py").write_text(AGENT)
        self.add_program("my-agent", sys.executable, "-I", "-S", folder / "agent.py")

    def asked(self) -> dict[str, dict[str, Any]]:
        """The open questions, by task."""
        return {q["task_id"]: q for q in self.get("/questions").json()}

    def waits(self, *task_ids: str) -> None:
        wait_until("they wait for a person", lambda: set(task_ids) <= set(self.ids_in("Waiting")))
        wait_until("they are asked", lambda: set(task_ids) <= set(self.asked()))

    def comments(self, task_id: str) -> list[str]:
        return [c["text"] for c in self.task(task_id).get("comments", ())]

    def starts(self) -> list[str]:
        return (self.folder / "starts").read_text().splitlines()

    def answer(self, question: str, said: str, by: str) -> int:
        body = {"answer": said, "by": by}
        return self.post(f"/questions/{question}/answer", body).status_code

    def kill_all(self) -> None:
        """As the end of a machine: everything at once, Prefect's server too."""
        for line in self.processes():
            try:
                psutil.Process(int(line.partition(":")[0])).send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        self.wait()
        wait_until("nothing is left", lambda: not self.processes())


@pytest.fixture
def system(tmp_path: Path, request: pytest.FixtureRequest) -> Generator[People]:
    names, timeout = request.param
    made = People(tmp_path, *names, timeout=timeout)
    try:
        yield made
    finally:
        made.kill()


@pytest.mark.parametrize("system", [(("Wall", "Twice"), None)], indirect=True)
def test_it_survives_the_end_of_everything_an_upgrade_and_two_answers(system: People) -> None:
    system.start()
    system.waits("1", "2")
    before = system.asked()
    system.kill_all()
    (system.folder / "run.py").write_text(script(prompt="Paint anew"))  # another version
    system.start()
    assert {t: q["id"] for t, q in system.asked().items()} == {
        t: q["id"] for t, q in before.items()
    }
    assert len(system.starts()) == 2, "no agent is started while nobody has answered"
    question = before["1"]["id"]
    people = {"red": "eve", "blue": "bob"}

    def says(said: str) -> int:
        return system.answer(question, said, people[said])

    with ThreadPoolExecutor(2) as pool:
        told = dict(zip(people, pool.map(says, people), strict=True))
    assert sorted(told.values()) == [200, 409]
    (won,) = [said for said, status in told.items() if status == 200]
    wait_until("it is done", lambda: "1" in system.ids_in("Done"))
    assert f"Painted {won}" in system.comments("1")
    assert system.answer(question, "green", "eve") in (404, 409)
    # The agent of the other one fails after the answer: its retry has it, and asks nobody again.
    assert system.answer(before["2"]["id"], "white", "eve") == 200
    wait_until("the retry is done", lambda: "2" in system.ids_in("Done"))
    asked = [c for c in system.comments("2") if c.startswith("Question ")]
    assert len(asked) == 1
    assert system.starts().count("Twice: answered white") == 2
    assert system.asked() == {}


@pytest.mark.parametrize("system", [(("Late", "Gone"), 8)], indirect=True)
def test_an_answer_that_comes_too_late_and_a_task_that_is_deleted(system: People) -> None:
    system.start()
    system.waits("1", "2")
    questions = system.asked()
    board = system.folder / "board.json"
    text = board.read_text()
    said = json.loads(text)
    said["queues"]["Waiting"] = [t for t in said["queues"]["Waiting"] if t["id"] != "2"]
    board.write_text(json.dumps(said))
    wait_until("its question is withdrawn", lambda: "2" not in system.asked())
    assert system.answer(questions["2"]["id"], "red", "eve") in (404, 409)
    wait_until("the other one is given up", lambda: "1" in system.ids_in("Failed"))
    assert system.answer(questions["1"]["id"], "red", "eve") in (404, 409)
    assert any("has expired" in c for c in system.comments("1"))
    assert all("answered" not in start for start in system.starts())
    runs = system.get("/tasks/1").json()
    assert runs["active_run"] is None
