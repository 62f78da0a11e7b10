"""An error leaves the flow of a run after its claim: Prefect runs the flow once more."""

from __future__ import annotations

from typing import Any

import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.flows.ends import going_round
from tests.harness import app_name, prompt, running

pytestmark = [pytest.mark.nightly, pytest.mark.smoke]


def test_a_task_is_not_lost_in_progress_when_the_engine_runs_its_flow_once_more(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [RuntimeError("Prefect answered 500")]
    really = going_round.goes_round

    async def goes_round(*where: Any) -> bool:
        if faults:
            raise faults.pop()
        return await really(*where)

    monkeypatch.setattr(going_round, "goes_round", goes_round)
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    app = AgentDispatcher(
        "true", name=app_name("repeats"), queue_backend=board, api_port=0, poll_interval=1
    )
    app.route("Todo", done_queue="Done", max_retries=1)(prompt)
    task_id = board.create_task("Todo", "Fix it").id
    with running(app, prefect_api) as it:
        it.in_queue(task_id, "Done")
        assert not faults
