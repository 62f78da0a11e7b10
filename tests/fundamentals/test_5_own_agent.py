"""An agent of your own is any object with one method."""

from __future__ import annotations

import pytest

from athanore import (
    AgentDispatcher,
    AgentEvent,
    AgentJob,
    AgentOutcome,
    AgentResult,
    EventKind,
    MemoryAdapter,
)
from tests.harness import app_name, running
from tests.support import wait_until

pytestmark = pytest.mark.smoke


class Typist:
    """Does its task by repeating it."""

    async def run(self, job: AgentJob) -> AgentResult:
        """Work on one task: tell what happens, and say how it ended."""
        job.emit(AgentEvent(EventKind.OUTPUT, {"stream": "stdout", "text": job.prompt}))
        return AgentResult(AgentOutcome.SUCCEEDED, usage={"cost_usd": 0.25})


def test_what_it_tells_stands_in_the_runs_log_and_its_cost_in_prefect(prefect_api: str) -> None:
    """The run is called as the task is; the log of the run has the agent's lines."""
    board = MemoryAdapter({"Todo": ["Say hello"], "In Progress": [], "Done": []})
    dispatcher = AgentDispatcher(name=app_name(), queue_backend=board, api_port=0)

    @dispatcher.route("Todo", agent=Typist(), done_queue="Done")
    def work(task_id: str, task_name: str) -> str:
        return f"{task_name}, world"

    with running(dispatcher, prefect_api) as app:
        run = app.prefect.ended("1")

    assert run["name"] == "Say hello"
    assert run["state_name"] == "Completed"
    assert run["labels"]["athanore.usage.cost_usd"] == 0.25

    def logged() -> bool:
        wanted = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}
        lines = app.prefect.post("/logs/filter", wanted)
        return "Say hello, world" in [line["message"] for line in lines]

    # Logs are sent when the app stops, at the latest; Prefect may take a moment to have them.
    wait_until("its line is in the log", logged)
