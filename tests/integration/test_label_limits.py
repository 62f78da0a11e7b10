"""No two agents work on tasks with one label where a route says so: through a real Prefect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from tests.harness import app_name, prompt, running

pytestmark = [pytest.mark.nightly, pytest.mark.smoke]


class Counting:
    """An agent that notes how many work at once on tasks with a label."""

    def __init__(self) -> None:
        self.now, self.most, self.all, self.most_of_all = 0, 0, 0, 0

    async def run(self, job: AgentJob) -> AgentResult:
        big = "big" in job.task.labels
        self.all += 1
        self.now += big
        self.most, self.most_of_all = max(self.most, self.now), max(self.most_of_all, self.all)
        await asyncio.sleep(1.5)
        self.all -= 1
        self.now -= big
        failed = big and job.attempt == 1 and job.task.name == "fails"
        return AgentResult(AgentOutcome.FAILED if failed else AgentOutcome.SUCCEEDED)


def test_tasks_with_the_label_have_one_agent_after_the_other(prefect_api: str) -> None:
    board, agent = MemoryAdapter(["Todo", "Next", "In Progress", "Done"]), Counting()
    app = AgentDispatcher(
        name=app_name("labels"), queue_backend=board, api_port=0, poll_interval=60,
        default_agent=agent, max_retries=1, max_concurrent_agents=4,
    )  # fmt: skip
    options: dict[str, Any] = {"label_limits": {"big": 1}, "retry_delay": 1}
    app.route("Todo", done_queue="Next", **options)(prompt)
    app.route("Next", done_queue="Done", **options)(prompt)
    tasks = [board.create_task("Todo", "fails" if n == 0 else "big").id for n in range(4)]
    for task_id in tasks:
        board.update_task(task_id, labels=("big",))
    others = [board.create_task("Todo", "other").id for _ in range(2)]
    with running(app, prefect_api) as it:
        for task_id in (*tasks, *others):
            it.in_queue(task_id, "Done", 300)
    assert agent.most == 1
    assert agent.most_of_all > 1, "no slot was held idle for the others"
