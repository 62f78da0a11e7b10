"""A failed attempt is repeated; what fails for good goes to the dead-letter queue."""

from __future__ import annotations

import pytest

from athanore import AgentDispatcher, MemoryAdapter, ScriptedAgent
from athanore.agent_adapters.scripted import Fail
from tests.harness import app_name, running

pytestmark = pytest.mark.smoke


def test_a_task_that_always_fails_ends_in_the_dead_letter_queue(prefect_api: str) -> None:
    """Its comments say what happened, in the words of a person."""
    board = MemoryAdapter({"Todo": ["Fix crash"], "In Progress": [], "Failed": []})
    agent = ScriptedAgent([Fail("exit code 2")])
    dispatcher = AgentDispatcher(
        name=app_name(), queue_backend=board, default_agent=agent, api_port=0,
        max_retries=1, dead_letter_queue="Failed",
    )  # fmt: skip

    @dispatcher.route("Todo", retry_delay=0)
    def work(task_id: str, task_name: str) -> str:
        return task_name

    with running(dispatcher, prefect_api) as app:
        app.in_queue("1", "Failed")
        comments = app.comments("1")

    assert [job.attempt for job in agent.jobs] == [1, 2]
    assert comments[0] == "Retry 1/1: exit code 2. Moving back to source queue for retry."
    assert comments[1].startswith("Max retries (1) exhausted. Moving to dead-letter queue.")
