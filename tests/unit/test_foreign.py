"""A worker leaves runs alone whose route it does not have."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from athanore import AgentDispatcher, MemoryAdapter, names
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.worker.foreign import ForeignRuns, older_polls
from tests.harness import prompt

pytestmark = pytest.mark.smoke

NOBODY = "http://127.0.0.1:1/api"
"""Nothing is asked of Prefect here."""


@pytest.fixture
def app() -> App:
    """An app with the route `Todo`."""
    dispatcher = AgentDispatcher("true", name="unit-foreign", queue_backend=MemoryAdapter())
    dispatcher.route("Todo")(prompt)
    return App("run.py:dispatcher", dispatcher)


def run(
    queue_name: str, app: str = "unit-foreign", late: float = 0, deployment: UUID | None = None
) -> FlowRun:
    """A run as Prefect offers it."""
    due = datetime.now(UTC) - timedelta(seconds=late)
    offered = {
        "flow_id": uuid4(), "deployment_id": deployment, "tags": [f"app:{app}"],
        "parameters": {"app": "run.py:dispatcher", "queue_name": queue_name},
        "next_scheduled_start_time": due,
    }  # fmt: skip
    return FlowRun.model_validate(offered)


async def test_runs_of_a_route_that_is_not_here_are_found_and_said_once(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    known, new, refused = run("Todo"), run("Extra"), run("Extra", app="another")
    foreign = ForeignRuns(logging.getLogger("test"), lambda: [app])
    async with PrefectRunStore(NOBODY) as client:
        for _ in range(2):
            assert await foreign.among(client, [known, new, refused]) == [new]
    (record,) = caplog.records
    assert "no route for 'Extra'" in record.getMessage()


def test_of_late_polls_of_a_route_the_newest_stays() -> None:
    one, two = uuid4(), uuid4()
    oldest, older, newest = (run("Extra", late=s, deployment=one) for s in (30, 20, 10))
    other, early = run("More", late=5, deployment=two), run("Extra", late=-60, deployment=one)
    late = older_polls([newest, early, oldest, other, older], datetime.now(UTC))
    assert set(late) == {oldest.id, older.id}


async def test_runs_of_a_route_for_another_kind_of_host_are_left_to_workers_there(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.dispatcher.route("Mac", host="macos")(prompt)
    runs = ForeignRuns(logging.getLogger("test"), lambda: [app])
    mac, any_host, poll = run("Mac"), run("Todo"), run("Mac")
    poll.tags.append(names.POLL_TAG)
    async with PrefectRunStore(NOBODY) as client:
        assert await runs.among(client, [mac, any_host, poll]) == [mac]
        app.dispatcher.settings.host_labels = "big, macos"
        assert await runs.among(client, [mac, any_host, poll]) == []
    assert not caplog.records
