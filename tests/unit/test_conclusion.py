"""What becomes of a task when its worker stops while Prefect is away."""

from __future__ import annotations

import logging
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.flows.ends.outcome import Conclusion
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from tests.harness import prompt

SUCCESS = AgentResult(AgentOutcome.SUCCEEDED)
FAILURE = AgentResult(AgentOutcome.FAILED, "exit code 1")
SHUTDOWN = "Worker is shutting down, and Prefect is away; returned to queue, attempt 1."
FAILED = "Agent failed (exit code 1), and Prefect is away; returned to queue, attempt 1."


@pytest.mark.parametrize(
    ("result", "begins_in", "ends_in", "comments"),
    [
        (None, "In Progress", "Todo", [SHUTDOWN]),
        (FAILURE, "In Progress", "Todo", [FAILED]),
        (SUCCESS, "In Progress", "Done", []),
        (None, "Elsewhere", "Elsewhere", []),
    ],
)
async def test_the_board_is_told(
    result: AgentResult | None, begins_in: str, ends_in: str, comments: list[str]
) -> None:
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Elsewhere"])
    app = AgentDispatcher("true", queue_backend=board)
    app.route("Todo", done_queue="Done")(prompt)
    route = app.routes["Todo"]
    task = board.create_task(begins_in, "Fix it")
    nobody = PrefectRunStore("http://127.0.0.1:1/api")
    run_log = RunLog(nobody, FlowRun(flow_id=uuid4(), run_count=1), route.retry)
    log = logging.getLogger(__name__)
    conclusion = Conclusion(App("run.py:dispatcher", app), route, run_log, task.id, log)
    await conclusion.without_prefect(result)
    after = board.get_task(task.id)
    assert (after.queue_name, [c.text for c in after.comments]) == (ends_in, comments)
