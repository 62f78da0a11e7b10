"""The sweep: what was left behind is looked after once for all routes, and not by polls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, Worker, WorkerStatus
from prefect.states import Pending, Running

from athanore import Task, names
from athanore.errors import BoardBrokenError
from athanore.flows.sweeping.sweep import Sweep, look_once
from athanore.runs.port import RunQuery
from athanore.runs.states import PrefectState, StateName
from athanore.runtime.leases.liveness import Liveness
from tests.memory_store import MemoryRunStore, deploy_in_memory, no_events
from tests.rules_site import DEAD, QUEUES, Board, Site

__all__ = ["no_events"]


class Counting(MemoryRunStore):
    """Counts how often it is asked for runs."""

    asked = 0

    async def find(self, query: RunQuery, **kwargs: Any) -> list[FlowRun]:
        self.asked += 1
        return await super().find(query, **kwargs)


class Moody(Board):
    """A board that counts how often it is read, and may be broken."""

    def __init__(self, queues: Sequence[str]) -> None:
        super().__init__(queues)
        self.reads = 0
        self.is_broken = False
        self.was_read = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        self.reads += 1
        self.loop.call_soon_threadsafe(self.was_read.set)
        if self.is_broken:
            raise BoardBrokenError("half a file")
        return super().get_ready_tasks(queue_names)


class Watched(Site):
    """A site whose board and Prefect count."""

    client: Counting
    board: Moody

    def prefect(self) -> MemoryRunStore:
        return Counting()

    def queues(self) -> Board:
        return Moody([*QUEUES, *self.further])

    async def asks(self) -> int:
        """How often one sweep asks for runs."""
        before = self.client.asked
        await look_once(self.client, self.app)
        return self.client.asked - before


class Lacking(Watched):
    """A site whose board has one queue of its routes no more."""

    lacks = "Next"

    def queues(self) -> Board:
        return Moody([q for q in QUEUES if q != self.lacks])


class Renamed(Lacking):
    lacks = "In Progress"


class Many(Watched):
    """A site of thirty routes."""

    further = tuple(f"Queue {n}" for n in range(29))


async def test_a_sweep_asks_as_often_however_many_routes_there_are() -> None:
    few, many = Watched(), Many()
    for site in (few, many):
        await site.at_work("In Progress")
        site.board.create_task("In Progress", "A person's")
    assert await few.asks() == await many.asks()
    assert (few.board.reads, many.board.reads) == (1, 1)


async def swept(site: Site, run: FlowRun) -> str | None:
    """The state of a run whose agent works, after a look."""
    with site.app.local_runs.controlled(run.id, site.task_id, run) as control:
        agent = asyncio.create_task(asyncio.Event().wait())
        following = asyncio.create_task(control.supervise(agent))
        await asyncio.sleep(0)
        assert control.at_work
        await look_once(site.client, site.app)
        agent.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return (await site.client.read_run(run.id)).state_name


async def test_an_agent_whose_task_was_moved_away_is_stopped_without_a_poll() -> None:
    site = Watched(poll_interval=3600)
    assert await swept(site, await site.at_work("Elsewhere")) == StateName.MOVED_AWAY


async def test_a_queue_that_is_gone_concerns_its_own_route_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The tasks of all routes are read together, and polls read the watched queue only."""
    site = Lacking()
    run = await site.at_work("Elsewhere")
    assert await swept(site, run) == StateName.MOVED_AWAY
    await look_once(site.client, site.app)
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(said) == 1 and "no queue 'Next' any more" in said[0]


async def test_an_agent_goes_on_where_its_queue_is_called_otherwise_now() -> None:
    site = Renamed()
    run = await site.at_work("Elsewhere")  # the new name of its list
    assert await swept(site, run) == PrefectState.RUNNING


async def test_a_lost_worker_is_seen_though_the_board_cannot_be_read() -> None:
    site = Watched()
    run = await site.put(await site.dispatched(), Pending(message=str(DEAD)))
    site.board.is_broken = True
    await look_once(site.client, site.app)
    assert (await site.client.read_run(run.id)).state_name == PrefectState.AWAITING_RETRY


async def test_a_run_of_a_route_that_is_not_known_here_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Watched()
    run = await site.put(await site.dispatched(), Pending(message=str(DEAD)), Running())
    deploy_in_memory(site.client, site.app.name, "Gone")  # by a worker of another version
    site.client.runs[run.id].parameters |= {"queue_name": "Gone", "route_name": "Gone"}
    with caplog.at_level(logging.WARNING, "athanore.worker"):
        for _ in range(3):
            await look_once(site.client, site.app)
    assert len([r for r in caplog.records if "'Gone'" in r.getMessage()]) == 1


async def test_a_card_that_a_person_put_in_progress_is_asked_about_now_and_then() -> None:
    site = Watched()
    site.board.move_task(site.task_id, "In Progress")
    first = await site.asks()
    assert await site.asks() < first
    site.app.noted.settled[site.task_id] -= 3600
    site.app.noted.next_look = float("inf")  # not the polls, and not what routes that are gone owe
    assert await site.asks() >= first - 2
    assert site.place == "In Progress"


async def test_a_sweep_that_is_asked_for_does_not_wait_for_its_turn() -> None:
    site = Watched(poll_interval=3600)
    sweep = Sweep(site.client, site.app)
    work = asyncio.create_task(sweep.sweep())
    async with asyncio.timeout(60):
        await site.board.was_read.wait()
        site.board.was_read.clear()
        sweep.soon()
        await site.board.was_read.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert site.app.noted.is_swept


@pytest.mark.parametrize(
    ("workers", "seconds"),
    [(1, 15), (2, 15), (4, 15), (10, 37.5), (40, 60), (1000, 60)],
)
async def test_many_workers_look_together_as_often_as_four(workers: int, seconds: float) -> None:
    site = Watched(poll_interval=3600)
    site.client.workers_of[names.polls_pool(site.app.name)] = [
        Worker(
            name=f"w{n}",
            work_pool_id=uuid4(),
            last_heartbeat_time=datetime.now(UTC),
            status=WorkerStatus.ONLINE,
        )
        for n in range(workers)
    ]
    sweep = Sweep(site.client, site.app)
    await sweep.look()
    assert sweep.interval() == seconds


async def test_a_lost_worker_is_lost_as_soon_where_there_are_many() -> None:
    site = Watched(poll_interval=3600)
    agents, polls = names.agents_pool(site.app.name), names.polls_pool(site.app.name)
    seconds = 0.0
    liveness = site.app.liveness = Liveness(timedelta(minutes=10), monotonic=lambda: seconds)
    site.client.workers_of[agents] = [
        Worker(
            name="silent",
            work_pool_id=uuid4(),
            last_heartbeat_time=datetime.now(UTC),
            status=WorkerStatus.ONLINE,
        )
    ]
    site.client.workers_of[polls] = [
        Worker(
            name=f"w{n}",
            work_pool_id=uuid4(),
            last_heartbeat_time=datetime.now(UTC),
            status=WorkerStatus.ONLINE,
        )
        for n in range(100)
    ]
    sweep = Sweep(site.client, site.app)
    await sweep.look()
    asked = site.client.asked
    while not liveness.is_lost((agents, "silent")):
        seconds += 15
        await sweep.watch()
    assert 600 <= seconds <= 630
    assert site.client.asked == asked, "the runs are read by the looks at all of them"
