"""The limits of providers: until when an account waits, and who goes first after that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, override
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Running

from athanore.flows import provider_limits
from athanore.models import Fault, FaultKind
from athanore.runs.capacity import limits
from athanore.runs.capacity.limits import Limit, Limits
from athanore.runs.connection.clock import Clock
from athanore.runs.port import Kept
from tests.memory_store import MemoryRunStore
from tests.rules_site import Site

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NEARLY = timedelta(seconds=10)


class Ahead(Clock):
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self._passed = timedelta(0)
        super().__init__(lambda: time.time() + self._passed.total_seconds())

    def forward(self, by: timedelta) -> None:
        self._passed += by


class Slow(MemoryRunStore):
    """A store that others use between a question and its answer."""

    @override
    async def value(self, name: str) -> Kept | None:
        await asyncio.sleep(0)
        found = await super().value(name)
        await asyncio.sleep(0)
        return found

    @override
    async def keep_first(self, name: str, value: Any, tags: Sequence[str] = ()) -> bool:
        await asyncio.sleep(0)
        return await super().keep_first(name, value, tags)


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


def fault(clock: Clock, after: timedelta | None = None) -> Fault:
    reset = None if after is None else clock.now() + after
    return Fault(FaultKind.PROVIDER, retry_at=reset, text="5-hour")


async def reached(clock: Clock, client: MemoryRunStore, after: timedelta | None) -> Limit:
    return await limits.reached(client, "a", fault(clock, after), clock.now())


async def waits(clock: Clock, client: MemoryRunStore, after: timedelta | None) -> timedelta:
    return (await reached(clock, client, after)).until - clock.now()


@pytest.mark.parametrize("after", [MINUTE, 5 * HOUR, 7 * DAY])
async def test_the_reset_that_the_provider_tells_counts(clock: Ahead, after: timedelta) -> None:
    assert after - NEARLY < await waits(clock, MemoryRunStore(), after) < after + NEARLY


@pytest.mark.parametrize("after", [None, -MINUTE, -DAY, 9 * DAY])
async def test_a_reset_that_cannot_be_right_is_as_none(
    clock: Ahead, after: timedelta | None
) -> None:
    wait = await waits(clock, MemoryRunStore(), after)
    assert 15 * MINUTE - NEARLY < wait <= 15 * MINUTE


async def test_without_a_reset_the_wait_doubles_up_to_two_hours(clock: Ahead) -> None:
    client, found = MemoryRunStore(), list[int]()
    for _ in range(6):
        wait = await waits(clock, client, None)
        found.append(round(wait / MINUTE))
        clock.forward(wait + MINUTE)
    assert found == [15, 30, 60, 120, 120, 120]


async def test_agents_that_hit_it_together_are_one_limit(clock: Ahead) -> None:
    client = MemoryRunStore()
    assert await waits(clock, client, 3 * HOUR) > 3 * HOUR - NEARLY
    assert 3 * HOUR - NEARLY < await waits(clock, client, None) < 3 * HOUR + NEARLY
    assert await waits(clock, client, 4 * HOUR) > 4 * HOUR - NEARLY


def at_work(client: MemoryRunStore) -> str:
    """The id of another run that works."""
    run = FlowRun(id=uuid4(), flow_id=uuid4(), state=Running(), state_type=StateType.RUNNING)
    client.runs[run.id] = run
    return str(run.id)


async def test_nobody_starts_before_the_reset_and_then_one_goes_first(clock: Ahead) -> None:
    client, here, elsewhere = MemoryRunStore(), Limits(clock), Limits(clock)
    one, two = at_work(client), at_work(client)
    assert await here.held(client, "a", one) is None
    limit = await reached(clock, client, HOUR)
    here.heard()
    for process in (here, elsewhere, Limits(clock)):  # over hosts and restarts
        held = await process.held(client, "a", one)
        assert held is not None and (held.limit, held.another_first) == (limit, False)
        assert HOUR - NEARLY < held.ask_again < HOUR + NEARLY
    assert await here.held(client, "another account", one) is None
    clock.forward(HOUR + MINUTE / 2)
    assert await here.held(client, "a", one) is None
    assert (here.goes_first(one), here.goes_first(one)) == (True, False)
    for process in (here, elsewhere):
        held = await process.held(client, "a", two)
        assert held is not None and held.another_first and held.ask_again < NEARLY
        assert not process.goes_first(two)
    await limits.passed(client, "a", two)  # it was not the one
    assert await here.held(client, "a", two) is not None
    await limits.passed(client, "a", one)
    assert await here.held(client, "a", two) is None
    assert client.kept == {}


async def test_of_many_runs_on_two_hosts_one_goes_first(clock: Ahead) -> None:
    client, hosts = Slow(), (Limits(clock), Limits(clock))
    runs = [at_work(client) for _ in range(20)]
    await reached(clock, client, HOUR)
    clock.forward(HOUR + MINUTE)
    asked = [hosts[n % 2].held(client, "a", run) for n, run in enumerate(runs)]
    answers = await asyncio.gather(*asked)
    assert [a is None for a in answers].count(True) == 1


async def test_who_goes_first_and_ends_without_an_agent_has_a_follower(clock: Ahead) -> None:
    client, here, elsewhere = MemoryRunStore(), Limits(clock), Limits(clock)
    one, two, three = (at_work(client) for _ in range(3))
    await reached(clock, client, HOUR)
    clock.forward(HOUR + MINUTE)
    assert await here.held(client, "a", one) is None
    del client.runs[UUID(one)]
    assert await elsewhere.held(client, "a", two) is None
    assert elsewhere.goes_first(two)
    assert await here.held(client, "a", three) is not None, "one at a time"
    await limits.passed(client, "a", two)
    assert client.kept == {}


async def test_who_goes_first_and_is_at_work_for_long_has_reached_the_provider(
    clock: Ahead,
) -> None:
    client, here = MemoryRunStore(), Limits(clock)
    one, two = at_work(client), at_work(client)
    await reached(clock, client, HOUR)
    clock.forward(HOUR + MINUTE)
    assert await here.held(client, "a", one) is None
    assert await here.held(client, "a", two) is not None
    clock.forward(2 * MINUTE)
    assert await here.held(client, "a", two) is None
    assert client.kept == {}


async def test_a_limit_that_comes_back_holds_again(clock: Ahead) -> None:
    client, here = MemoryRunStore(), Limits(clock)
    one = at_work(client)
    await reached(clock, client, HOUR)
    clock.forward(HOUR + MINUTE)
    assert await here.held(client, "a", one) is None
    await reached(clock, client, HOUR)
    assert await here.held(client, "a", one) is not None
    assert len(client.kept) == 1, "nothing is left of who went first before"


async def test_what_people_read(clock: Ahead) -> None:
    limit = await reached(clock, MemoryRunStore(), 7 * DAY)
    assert (
        limit.in_words(clock.now())
        == f"Provider limit (5-hour); goes on at {limit.until:%Y-%m-%d %H:%M} UTC"
    )


class Asked(MemoryRunStore):
    """Counts how often it is asked for a limit."""

    asked = 0

    async def value(self, name: str) -> Any:
        self.asked += 1
        return await super().value(name)


async def test_that_there_is_no_limit_is_remembered_until_an_agent_here_reaches_one() -> None:
    client, site = Asked(), Site(max_retries=1)
    route, run = site.route, await site.dispatched()
    for _ in range(10):
        assert await provider_limits.choose(client, site.app, route, run) is route
    assert client.asked == 1
    found = fault(site.app.clock, HOUR)
    await provider_limits.reached(site.client, site.app, route, found)
    held = await provider_limits.choose(site.client, site.app, route, run)
    assert isinstance(held, provider_limits.Wait)
