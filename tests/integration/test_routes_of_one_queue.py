"""Two routes watch one queue: labels say whose a task is, until its first claim."""

from __future__ import annotations

from typing import Any

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, Task
from athanore.agent_adapters.base import AgentJob
from tests.harness import app_name, prompt, running
from tests.support import wait_until

QUEUES = ["Todo", "In Progress", "Done"]


class Worker:
    """An agent that notes what it was given."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def run(self, job: AgentJob) -> AgentResult:
        self.done.append(job.task.name)
        return AgentResult(AgentOutcome.SUCCEEDED)


@pytest.mark.smoke
def test_labels_split_a_queue_between_two_routes(prefect_api: str) -> None:
    board = MemoryAdapter(
        {
            "Todo": [
                {"name": "Say it", "labels": ["docs"]},
                "Fix it",
                {"name": "Not yet", "labels": ["later"]},
            ],
            "In Progress": [],
            "Done": [],
        }
    )
    writer, coder = Worker(), Worker()
    app = AgentDispatcher(name=app_name("split"), queue_backend=board, api_port=0, poll_interval=1)

    def fails_on(one: Task) -> bool:
        if one.name == "Odd":
            raise KeyError("estimate")
        return True

    options: dict[str, Any] = {"in_progress_queue": "In Progress", "done_queue": "Done"}
    app.route("Todo", name="Writer", labels=["docs"], agent=writer, **options)(prompt)
    app.route(
        "Todo", name="Coder", without_labels=["later"], match=fails_on, agent=coder, **options
    )(prompt)
    with running(app, prefect_api) as it:
        it.in_queue("1", "Done")
        it.in_queue("2", "Done")
        assert (writer.done, coder.done) == (["Say it"], ["Fix it"])
        assert board.get_task("3").queue_name == "Todo"
        assert {r["parameters"]["route_name"] for r in it.prefect.runs()} == {"Writer", "Coder"}

        odd = board.create_task("Todo", "Odd")
        said = "is held: match= of route 'Coder' fails on it (KeyError: 'estimate')"
        wait_until(
            "a poll says why nobody works on it",
            lambda: any(
                said in (r["state"]["message"] or "") for r in it.prefect.runs(kind="poll")
            ),
        )
        assert it.prefect.runs(odd.id) == []

        board.update_task("3", labels=["docs"])
        it.in_queue("3", "Done")
        assert writer.done == ["Say it", "Not yet"]
