"""A task waits for those that block it, and starts as soon as they have ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, JsonFileAdapter
from athanore.agent_adapters.base import AgentJob
from tests.harness import app_name, prompt, running
from tests.support import LOCAL


class Notes:
    """An agent that notes which tasks it was given, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def run(self, job: AgentJob) -> AgentResult:
        self.done.append(job.task.id)
        return AgentResult(AgentOutcome.SUCCEEDED)


def _board(folder: Path) -> JsonFileAdapter:
    """A board that is watched, so that no poll has to come by its interval."""
    queues: dict[str, list[object]] = {"Todo": [], "In Progress": [], "Done": []}
    (folder / "board.json").write_text(json.dumps({"queues": queues}))
    return JsonFileAdapter(folder / "board.json")


@pytest.mark.smoke
def test_a_task_starts_when_the_one_that_blocks_it_has_ended(
    prefect_api: str, tmp_path: Path
) -> None:
    board, agent = _board(tmp_path), Notes()
    dispatcher = AgentDispatcher(
        name=app_name("blocked"), queue_backend=board, api_port=0, poll_interval=3600
    )
    dispatcher.route("Todo", agent=agent, done_queue="Done", respect_blockers=True)(prompt)
    second = board.create_task("Todo", "Second", "Blocked by: #2").id
    first = board.create_task("Todo", "First", "Blocked by: #3").id
    assert (second, first) == ("1", "2")
    with running(dispatcher, prefect_api) as it:
        blocker = board.create_task("In Progress", "By hand").id
        body = {"queue_name": "Todo", "name": "Third", "description": "Blocked by: #1"}
        third = str(LOCAL.post(f"{it.api_url}/tasks", json=body, timeout=60).json()["id"])
        assert it.prefect.runs(third) == [], "what is created over the API waits, too"
        board.move_task(blocker, "Done")
        for task_id in (first, second, third):
            it.in_queue(task_id, "Done")
    assert agent.done == [first, second, third]
