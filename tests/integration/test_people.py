"""An agent asks a person and ends: its slot is free, and it goes on after a restart."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.runtime.registry import registry
from tests.harness import app_name, prompt, running
from tests.support import LOCAL, wait_until

AGENT = r"""
import json, os, pathlib, sys, urllib.request
pathlib.Path(os.environ["PROMPTS"]).open("a").write(sys.argv[1] + "\n--\n")
def call(path, body):
    request = urllib.request.Request(
        os.environ["ATHANORE_API_URL"] + path, json.dumps(body).encode(),
        {"Content-Type": "application/json",
         "Authorization": "Bearer " + os.environ["ATHANORE_TOKEN"]},
    )
    return json.load(urllib.request.urlopen(request))
path = f"/tasks/{os.environ['ATHANORE_TASK_ID']}"
if os.environ["ATHANORE_TASK_NAME"] == "Ask":
    asked = call(path + "/questions", {"question": "Which colour?"})
    if asked["state"] == "answered":
        call(path + "/comments", {"comment": "Painted " + asked["answer"]})
"""


def answers(url: str) -> bool:
    try:
        return LOCAL.get(url).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.smoke
def test_an_agent_ends_with_a_question_and_goes_on_with_the_answer(
    prefect_api: str, tmp_path: Path
) -> None:
    board = MemoryAdapter(["Todo", "In Progress", "Waiting", "Done"])
    asks = board.create_task("Todo", "Ask").id
    name, prompts = app_name("people"), tmp_path / "prompts"

    def app() -> AgentDispatcher:
        made = AgentDispatcher(
            shlex.join([sys.executable, "-I", "-S", "-c", AGENT]),
            name=name,
            queue_backend=board,
            poll_interval=3600,
            api_port=0,
            max_concurrent_agents=1,
        )
        env = {"PROMPTS": str(prompts)}
        made.route("Todo", done_queue="Done", waiting_queue="Waiting", env=env)(prompt)
        return made

    with running(app(), prefect_api, keep=True) as it:

        def suspended() -> bool:
            return it.prefect.run(asks)["state_name"] == "Suspended"

        wait_until("the run is suspended", suspended)
        it.in_queue(asks, "Waiting")
        other = LOCAL.post(
            f"{it.api_url}/tasks", json={"queue_name": "Todo", "name": "Other"}, timeout=60
        )
        it.in_queue(other.json()["id"], "Done")  # there is one slot, and it is free
    with running(app(), prefect_api) as it:

        def is_back() -> bool:  # a poll of the first app has run already
            return any(a.dispatcher is it.dispatcher for a in registry.all())

        wait_until("the second app is there", is_back)
        wait_until("its API is there", lambda: answers(f"{it.api_url}/status"))
        (question,) = LOCAL.get(f"{it.api_url}/questions", timeout=60).json()
        assert (question["task_id"], question["question"]) == (asks, "Which colour?")
        said: dict[str, Any] = {"answer": "red", "by": "eve"}
        answer = f"{it.api_url}/questions/{question['id']}/answer"
        assert LOCAL.post(answer, json=said, timeout=60).status_code == 200
        run = it.prefect.ended(asks)
        it.in_queue(asks, "Done")
        assert "Painted red" in it.comments(asks)
        assert run["state_name"] == "Completed"
        assert it.prefect.labels(run["id"])["athanore.question"] == ""
        assert "Attempt 1 succeeded" in run["state"]["message"]
    assert "eve answered:\n\n    red" in prompts.read_text()
