"""Polls that are of no use any more are deleted in bulk: late ones, and those without a find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.flows import runs
from athanore.flows.pausing import RESUME
from athanore.worker.polls import overtaken
from tests.harness import app_name, prompt, running
from tests.support import wait_until


class Quick:
    """An agent that succeeds at once."""

    async def run(self, job: AgentJob) -> AgentResult:
        return AgentResult(AgentOutcome.SUCCEEDED)


def _poll(route: UUID, seconds: float, **parameters: object) -> FlowRun:
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    values = {
        "flow_id": uuid4(), "deployment_id": route, "state": Scheduled(scheduled_time=due),
        "next_scheduled_start_time": due, "parameters": parameters,
    }  # fmt: skip
    return FlowRun.model_validate(values)


def test_of_late_polls_only_the_newest_of_each_route_stays() -> None:
    one, two = uuid4(), uuid4()
    old, older, newest = _poll(one, -20), _poll(one, -30), _poll(one, -10)
    resuming, to_come, only = _poll(one, -40, **{RESUME: True}), _poll(one, 5), _poll(two, -60)
    offered = [older, old, resuming, newest, only, to_come]
    assert [r.id for r in overtaken(offered)] == [older.id, old.id]


async def _delete(prefect_api: str, app: str, age: timedelta) -> int:
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        async with get_client() as client:
            return await runs.delete_empty_polls(client, app, age)


async def test_polls_that_found_nothing_are_deleted_and_others_stay(prefect_api: str) -> None:
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    app = AgentDispatcher(
        name=app_name("clean"), queue_backend=board, default_agent=Quick(), api_port=0,
        poll_interval=2,
    )  # fmt: skip
    app.route("Todo", done_queue="Done")(prompt)
    task = board.create_task("Todo", "One")
    with running(app, prefect_api) as it:
        it.in_queue(task.id, "Done")

        def ended() -> dict[str, int]:
            names = [r["state_name"] for r in it.prefect.runs(kind="poll") if r["end_time"]]
            return {name: names.count(name) for name in names}

        wait_until("polls found nothing", lambda: ended().get(runs.NOTHING_READY, 0) >= 2)
        it.stop.request()
        it.stopped()
        before = ended()
        assert await _delete(prefect_api, app.name, timedelta(hours=1)) == 0
        deleted = await _delete(prefect_api, app.name, timedelta(0))
        assert deleted == before.pop(runs.NOTHING_READY)
        assert ended() == before
        assert before["Completed"] >= 1
        assert it.prefect.run(task.id)["state_type"] == "COMPLETED"
