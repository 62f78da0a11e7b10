"""A route that nobody has paused and nothing polls is told, with the reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, Worker, WorkerStatus, WorkPool
from prefect.states import Completed, Pending, Running, Scheduled

from athanore import names
from athanore.runs.port import NewRun
from athanore.services.showing.views import Kind
from athanore.services.status import needs_person
from athanore.services.status.machinery import Machinery
from athanore.services.status.unpolled import OVERDUE, Unpolled, unpolled
from tests.rules_site import Site

LONG, SHORT = OVERDUE + timedelta(minutes=1), OVERDUE - timedelta(minutes=1)


class Polled(Site):
    """An app whose polls have their own pool, with a worker."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = names.polls_pool(self.app.name)
        self.client.pools[self.pool] = WorkPool(
            name=self.pool, type="athanore", default_queue_id=uuid4()
        )
        worker = Worker(name="w", work_pool_id=uuid4(), status=WorkerStatus.ONLINE)
        worker.last_heartbeat_time = datetime.now(UTC)
        self.client.workers_of[self.pool] = [worker]

    async def poll(self, ago: timedelta, route: str = "Todo", name: str = "Late") -> FlowRun:
        """A poll that is due for so long."""
        own = names.deployment_name(self.app.name, route)
        deployed = await self.client.deployment(f"{names.POLL_FLOW}/{own}")
        due = datetime.now(UTC) - ago
        run = await self.client.create(deployed.id, NewRun(name="poll", due=due, parameters={}))
        await self.client.impose(run.id, Scheduled(name=name, scheduled_time=due))
        return run

    async def begun(self, ago: timedelta) -> FlowRun:
        """A poll that is at work for so long."""
        run = await self.poll(ago)
        await self.put(run, Pending(), Running())
        begun = self.client.runs[run.id]
        assert begun.state is not None
        begun.state.timestamp = begun.state.timestamp - ago
        return run

    async def found(self) -> dict[str, Unpolled]:
        return await unpolled(self.client, self.app, ["Todo", "Next"])


async def test_a_route_whose_polls_are_taken_is_polled() -> None:
    site = Polled()
    await site.poll(SHORT)
    await site.begun(SHORT)
    await site.poll(LONG, name="Scheduled")  # Prefect calls late what is due; this has a new time
    assert await site.found() == {}


async def test_late_polls_beside_one_that_has_ended_are_cleared_away_soon() -> None:
    site = Polled()
    await site.poll(LONG)
    ended = await site.begun(timedelta(seconds=1))
    await site.client.impose(ended.id, Completed())
    assert await site.found() == {}


@pytest.mark.parametrize(
    ("case", "why", "mend"),
    [
        ("no worker", "No worker that takes polls is online.", "athanore up"),
        ("paused", "is paused.", "prefect work-pool resume"),
        ("no pool", "There is no work pool", "athanore deploy"),
        ("other code", "they run other code, or are stuck.", "athanore restart"),
    ],
)
async def test_polls_that_nobody_takes(case: str, why: str, mend: str) -> None:
    site = Polled()
    await site.poll(LONG + timedelta(hours=1))
    await site.poll(LONG, "Next")
    if case == "no worker":
        site.client.workers_of.clear()
    if case == "paused":
        pool = site.client.pools[site.pool]
        site.client.pools[site.pool] = pool.model_copy(update={"is_paused": True})
    if case == "no pool":
        del site.client.pools[site.pool]
    found = await site.found()
    assert set(found) == {"Todo", "Next"}
    assert all(why in u.why and mend in u.mend for u in found.values())
    assert found["Todo"].since < found["Next"].since

    machinery = Machinery(None, ("w",), ("1",), {}, {}, {}, False, unpolled=found)
    (matter,) = needs_person.of_routes(site.app.name, machinery)
    assert (matter.kind, matter.route) == (Kind.NOT_POLLED, None)
    since = f"{found['Todo'].since:%H:%M} UTC"
    assert matter.says.startswith("Routes 'Todo', 'Next' have not been polled since ")
    assert since in matter.says


async def test_a_poll_that_does_not_end() -> None:
    site = Polled()
    await site.begun(LONG)
    await site.poll(LONG, "Next")
    found = await site.found()
    assert found["Todo"].why.startswith("Its poll has begun, and does not end")
    assert "other code" in found["Next"].why


async def test_a_poll_that_was_late_and_has_just_been_taken_is_none_that_does_not_end() -> None:
    site = Polled()
    taken = await site.poll(LONG)
    await site.put(taken, Pending())
    assert await site.found() == {}


async def test_where_nobody_can_poll_it_is_not_asked_for_each_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Polled()
    await site.poll(LONG)
    site.client.workers_of.clear()
    monkeypatch.setattr(site.client, "count", None)  # a call of it would fail
    assert set(await site.found()) == {"Todo"}


async def test_a_route_that_is_paused_is_not_polled_on_purpose() -> None:
    site = Polled()
    await site.poll(LONG)
    assert await unpolled(site.client, site.app, ["Next"]) == {}
