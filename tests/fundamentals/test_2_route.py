"""A route watches a queue, and has an agent work on every task in it."""

from __future__ import annotations

import pytest

from athanore import AgentDispatcher, MemoryAdapter, ScriptedAgent
from tests.harness import app_name, running

pytestmark = pytest.mark.smoke


def test_a_task_is_claimed_worked_on_and_put_away(prefect_api: str) -> None:
    """The function of a route writes the prompt; done_queue is where the task goes afterwards."""
    board = MemoryAdapter({"Todo": ["Fix crash"], "In Progress": [], "Done": []}, user="me")
    agent = ScriptedAgent()
    dispatcher = AgentDispatcher(
        name=app_name(), queue_backend=board, default_agent=agent, api_port=0
    )

    @dispatcher.route("Todo", done_queue="Done")
    def work(task_id: str, task_name: str) -> str:
        return f"Work on task {task_id}: {task_name}."

    with running(dispatcher, prefect_api) as app:
        task = app.in_queue("1", "Done")

    assert task.assignees == ("me",)
    assert [job.prompt for job in agent.jobs] == ["Work on task 1: Fix crash."]
