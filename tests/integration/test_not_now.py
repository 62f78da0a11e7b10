"""An agent that cannot work now: its route is paused, and no task pays for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore import AgentDispatcher, MemoryAdapter
from tests.harness import app_name, prompt, running
from tests.support import wait_until


@pytest.mark.nightly
def test_a_folder_that_goes_away_pauses_the_route_and_costs_no_attempt(
    prefect_api: str, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    board = MemoryAdapter({"Todo": [], "In Progress": [], "Done": [], "Failed": []})
    dispatcher = AgentDispatcher(
        name=app_name("notnow"), queue_backend=board, api_port=0, poll_interval=2
    )
    dispatcher.route(
        "Todo", command="true", cwd=folder, done_queue="Done", dead_letter_queue="Failed",
        resume_after=3,
    )(prompt)  # fmt: skip
    with running(dispatcher, prefect_api) as it:
        folder.rmdir()
        task_id = board.create_task("Todo", "Fix crash").id
        wait_until("it is told on the task", lambda: it.comments(task_id))
        it.in_queue(task_id, "Todo")
        (comment,) = it.comments(task_id)
        assert "Route 'Todo' is paused: agents cannot work now" in comment
        assert "No such file or directory" in comment
        folder.mkdir()  # the route tries again by itself, and with it the task
        it.in_queue(task_id, "Done")
        run = it.prefect.ended(task_id)
        assert (run["state_type"], run["empirical_policy"]["retries"]) == ("COMPLETED", 1)
