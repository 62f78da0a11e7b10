"""Polls and scheduled work of a worker on another host, which is judged by its heartbeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, StateType, Worker, WorkerStatus
from prefect.states import Pending, Running

from athanore import names
from athanore.runs.port import NewRun
from athanore.runs.records.record import Holder
from athanore.runtime.leases.liveness import Liveness
from tests.rules_site import Site

FAR = Holder("AthanoreWorker far", "another-host:7:1.00")
BEAT = datetime(2026, 1, 1, tzinfo=UTC)


class Hosts(Site):
    """This host, and another one that has a poll, an agent run and some scheduled work."""

    def __init__(self) -> None:
        super().__init__(max_retries=0)
        self.now = 5000.0
        self.app.liveness = Liveness(timedelta(seconds=60), monotonic=lambda: self.now)
        self.app.noted.monotonic = lambda: self.now
        self.dispatcher.every("0 7 * * *", queue="Todo", name="daily")
        self.beats = 0
        own = names.deployment_name(self.app.name, "daily")
        tags = ["athanore", names.app_tag(self.app.name), names.SCHEDULE_TAG]
        self.client.deploy(f"{names.SCHEDULE_FLOW}/{own}", {"schedule": "daily"}, tags)

    async def taken(self, flow: str, name: str) -> FlowRun:
        deployed = await self.client.deployment(
            f"{flow}/{names.deployment_name(self.app.name, name)}"
        )
        run = await self.client.create(
            deployed.id, NewRun(name=name, due=datetime.now(UTC), parameters={})
        )
        await self.put(run, Pending(message=str(FAR)), Running())
        begun = self.client.runs[run.id]
        assert begun.state is not None
        begun.state.timestamp = begun.state.timestamp - timedelta(minutes=1)
        return begun

    async def passes(self, seconds: int, *, beats: bool) -> None:
        """Sweep every ten seconds; the far worker's heart beats meanwhile, or not."""
        for _ in range(seconds // 10):
            self.now += 10
            self.beats += beats
            at = BEAT + timedelta(seconds=self.beats)
            for pool in self.client.pools:
                worker = Worker(name=FAR.worker, work_pool_id=uuid4(), status=WorkerStatus.ONLINE)
                worker.last_heartbeat_time = at
                self.client.workers_of[pool] = [worker]
            await self.sweep()


@pytest.mark.parametrize("kind", ["poll", "scheduled work"])
async def test_what_a_living_worker_has_is_left_to_it(kind: str) -> None:
    hosts = Hosts()
    flow, name = (names.POLL_FLOW, "Todo") if kind == "poll" else (names.SCHEDULE_FLOW, "daily")
    run = await hosts.taken(flow, name)
    agent = await hosts.put(await hosts.dispatched(), Pending(message=str(FAR)), Running())
    hosts.board.move_task(hosts.task_id, "In Progress")
    await hosts.noted(agent, FAR)
    await hosts.passes(600, beats=True)
    assert (await hosts.client.read_run(run.id)).state_type is StateType.RUNNING
    assert (await hosts.client.read_run(agent.id)).state_type is StateType.RUNNING
    await hosts.passes(200, beats=False)
    ended = StateType.CRASHED if kind == "poll" else StateType.SCHEDULED
    assert (await hosts.client.read_run(run.id)).state_type is ended
