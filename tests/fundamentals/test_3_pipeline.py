"""Routes make a pipeline: where one puts a task, the next one takes it."""

from __future__ import annotations

import pytest

from athanore import AgentDispatcher, MemoryAdapter, ScriptedAgent
from tests.harness import app_name, running

pytestmark = pytest.mark.smoke


def test_a_task_goes_from_stage_to_stage(prefect_api: str) -> None:
    """The second stage starts when the first one is done; no poll is waited for."""
    board = MemoryAdapter({"Todo": ["Fix crash"], "In Progress": [], "Review": [], "Done": []})
    dispatcher = AgentDispatcher(
        name=app_name(), queue_backend=board, poll_interval=3600, api_port=0
    )
    engineer, reviewer = ScriptedAgent(), ScriptedAgent()

    @dispatcher.route("Todo", agent=engineer, done_queue="Review")
    def build(task_id: str, task_name: str) -> str:
        return f"Build {task_name}"

    @dispatcher.route("Review", agent=reviewer, done_queue="Done")
    def review(task_id: str, task_name: str) -> str:
        return f"Review {task_name}"

    with running(dispatcher, prefect_api) as app:
        app.in_queue("1", "Done")

    assert [job.prompt for job in (*engineer.jobs, *reviewer.jobs)] == [
        "Build Fix crash",
        "Review Fix crash",
    ]
