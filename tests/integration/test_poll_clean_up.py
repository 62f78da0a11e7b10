"""Polls that are of no use any more are deleted in bulk: late ones, and those without a find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter, names
from athanore.agent_adapters.base import AgentJob
from athanore.runs import clearing
from athanore.runs.capacity.pausing import RESUME
from athanore.runs.connection.transports import prefect_client
from athanore.runs.states import StateName
from athanore.worker.poll_runs.polls import PollLanes
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


def _now() -> datetime:
    return datetime.now(UTC)


def _ids(polls: list[FlowRun]) -> list[UUID]:
    return [poll.id for poll in polls]


def test_of_late_polls_one_of_each_route_runs() -> None:
    lanes, one, two = PollLanes(_now), uuid4(), uuid4()
    old, older, newest, only = _poll(one, -20), _poll(one, -30), _poll(one, -10), _poll(two, -60)
    start, superseded = lanes.offer([older, newest, only, old])
    assert _ids(start) == [only.id, newest.id]
    assert _ids(superseded) == [older.id, old.id]
    # What was due before that start has been looked at since, while it runs and afterwards.
    assert lanes.offer([late := _poll(one, -15)]) == ([], [late])
    assert lanes.done(newest) is None
    assert lanes.offer([later := _poll(one, -5)]) == ([], [later])


def test_a_poll_that_is_due_while_one_runs_is_the_next() -> None:
    lanes, one = PollLanes(_now), uuid4()
    first, second, third = _poll(one, -1), _poll(one, 1), _poll(one, 2)
    assert lanes.offer([first]) == ([first], [])
    assert lanes.offer([second]) == ([], [])
    assert lanes.offer([third]) == ([], [second])
    assert lanes.done(first) == third
    assert lanes.done(third) is None


def test_a_poll_that_is_offered_again_is_not_superseded_by_itself() -> None:
    lanes, one = PollLanes(_now), uuid4()
    first, second = _poll(one, -1), _poll(one, 1, newer_than="a change")
    assert lanes.offer([first]) == ([first], [])
    assert lanes.offer([second]) == ([], [])
    assert lanes.offer([first, second]) == ([], []), "neither has begun at Prefect"
    assert lanes.done(first) == second
    assert lanes.offer([second]) == ([], [])


def test_a_poll_that_resumes_its_route_is_run_in_any_case() -> None:
    lanes, one = PollLanes(_now), uuid4()
    first, resuming, later = _poll(one, -1), _poll(one, -40, **{RESUME: True}), _poll(one, 1)
    assert lanes.offer([first]) == ([first], [])
    assert lanes.offer([resuming]) == ([], [])
    assert lanes.offer([later]) == ([], [later])
    assert lanes.done(first) == resuming


def test_a_poll_that_a_webhook_asked_for_is_not_taken_for_one_that_looks_already() -> None:
    lanes, one = PollLanes(_now), uuid4()
    first, told = _poll(one, -1), _poll(one, -0.5, **{names.NEWER_THAN: "2026-01-01T00:00:01"})
    assert lanes.offer([first]) == ([first], [])
    assert lanes.offer([told, later := _poll(one, 1)]) == ([], [later])
    told_again = _poll(one, 2, **{names.NEWER_THAN: "2026-01-01T00:00:03"})
    assert lanes.offer([told_again]) == ([], [told])
    resuming = _poll(one, -40, **{RESUME: True})
    assert lanes.offer([resuming]) == ([], [told_again])
    assert lanes.done(first) == resuming


def test_scheduled_work_that_a_person_starts_stands_for_no_other() -> None:
    """Its slot is its own: each of both is to create a task."""
    lanes, schedule = PollLanes(_now), uuid4()
    slots = [_poll(schedule, -30), _poll(schedule, -20)]
    for slot in slots:
        slot.tags, slot.auto_scheduled = [names.SCHEDULE_TAG], True
    by_hand = [_poll(schedule, -10), _poll(schedule, -40)]
    for run in by_hand:
        run.tags = [names.SCHEDULE_TAG]
    start, superseded = lanes.offer([*slots, *by_hand])
    assert set(_ids(start)) == {slots[1].id, *_ids(by_hand)}
    assert superseded == [slots[0]], "of slots that are missed the last one is made good"
    assert lanes.done(by_hand[0]) is None
    assert lanes.offer([by_hand[1], slots[1]]) == ([], [])


async def _delete(prefect_api: str, app: str, age: timedelta) -> int:
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        async with prefect_client() as client:
            return await clearing.delete_empty_polls(client, app, _now() - age)


@pytest.mark.nightly
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

        empty = (StateName.NOTHING_READY, StateName.UNCHANGED)
        wait_until("polls found nothing", lambda: all(ended().get(name) for name in empty))
        it.stop.request()
        it.stopped()
        before = ended()
        assert await _delete(prefect_api, app.name, timedelta(hours=1)) == 0
        deleted = await _delete(prefect_api, app.name, timedelta(0))
        # On a busy machine a poll may have been due while another one looked.
        assert deleted == sum(before.pop(name, 0) for name in (*empty, StateName.JOINED))
        assert ended() == before
        assert before["Completed"] >= 1
        assert it.prefect.run(task.id)["state_type"] == "COMPLETED"
