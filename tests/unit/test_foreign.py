"""A worker leaves runs alone whose route it does not have."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from athanore import AgentDispatcher, DirectoryWorkspace, GitWorkspace, MemoryAdapter, names
from athanore.runs.capacity.fleet import WorkerEntry
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.apps import App
from athanore.worker.taking.foreign import ForeignRuns, older_polls
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


def _now() -> datetime:
    return datetime.now(UTC)


def run(
    queue_name: str,
    app: str = "unit-foreign",
    late: float = 0,
    deployment: UUID | None = None,
    *,
    by_hand: bool = False,
) -> FlowRun:
    """A run as Prefect offers it."""
    due = datetime.now(UTC) - timedelta(seconds=late)
    offered = {
        "flow_id": uuid4(), "deployment_id": deployment, "tags": [f"app:{app}"],
        "parameters": {"app": "run.py:dispatcher", "queue_name": queue_name},
        "next_scheduled_start_time": due, "auto_scheduled": not by_hand,
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
    asked = run("Extra", late=25, deployment=one, by_hand=True)
    late = {r.id for r in older_polls([newest, early, oldest, other, asked, older], _now())}
    assert late == {oldest.id, older.id}, "and what somebody has started"


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


def worked_on(host: str, queue_name: str) -> FlowRun:
    """A run that waits for another attempt, whose last one was on a host."""
    found = run(queue_name)
    found.labels = {"athanore.worker": f"{host}-77-ab12 {names.agents_pool('unit-foreign')}"}
    return found


class Others:
    """Other workers, as one knows them that looks now and then."""

    def __init__(self, now: Sequence[WorkerEntry]) -> None:
        self.living: Sequence[WorkerEntry] = now
        self.now = now
        self.asked = 0

    async def who_lives(self, client: PrefectRunStore) -> Sequence[WorkerEntry]:
        self.asked += 1
        return self.now


async def test_a_task_stays_with_the_host_that_has_its_folder_while_that_lives(
    app: App, tmp_path: Path
) -> None:
    alone, shared = GitWorkspace(tmp_path), GitWorkspace(tmp_path, share=tmp_path / "share")
    app.dispatcher.route("Work", workspace=alone)(prompt)
    app.dispatcher.route("Plain", workspace=DirectoryWorkspace(tmp_path))(prompt)
    app.dispatcher.route("Mac", workspace=alone, host="macos")(prompt)
    app.dispatcher.route("Shared", workspace=shared)(prompt)
    app.dispatcher.settings.host_labels = "macos"
    others = [WorkerEntry("there-77-ab12", "there-77-ab12 pool", "there", datetime.now(UTC))]
    place = Others(others)
    runs = ForeignRuns(logging.getLogger("test"), lambda: [app], lambda: place)
    here = socket.gethostname()
    offered = [worked_on("there", q) for q in ("Work", "Plain", "Mac", "Shared", "Todo")]
    offered += [worked_on("gone", "Work"), worked_on(here, "Work")]
    async with PrefectRunStore(NOBODY) as client:
        assert await runs.among(client, offered) == offered[:2]
        place.living, place.asked = [], 0  # one that has just begun is not known yet
        assert await runs.among(client, offered) == offered[:2]
        assert place.asked == 1
        place.now = []
        assert await runs.among(client, offered) == []
