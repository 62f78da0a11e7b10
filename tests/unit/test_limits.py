"""The limits of providers: until when an account waits, and who goes first after that."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from athanore.models import Fault, FaultKind
from athanore.runs.capacity import limits
from athanore.runs.capacity.limits import Limit, Limits
from athanore.runs.connection.clock import Clock
from tests.memory_store import MemoryRunStore

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NEARLY = timedelta(seconds=10)


class Ahead(Clock):
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self._passed = timedelta(0)
        super().__init__(lambda: time.time() + self._passed.total_seconds())

    def forward(self, by: timedelta) -> None:
        self._passed += by


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


async def test_nobody_starts_before_the_reset_and_then_one_goes_first(clock: Ahead) -> None:
    client, here, elsewhere = MemoryRunStore(), Limits(clock), Limits(clock)
    assert await here.held(client, "a", "1") is None
    limit = await reached(clock, client, HOUR)
    for process in (here, elsewhere, Limits(clock)):  # over hosts and restarts
        held = await process.held(client, "a", "1")
        assert held is not None and held[0] == limit
        assert HOUR - NEARLY < held[1] < HOUR + NEARLY
    assert await here.held(client, "another account", "1") is None
    clock.forward(HOUR + MINUTE / 2)
    assert await here.held(client, "a", "1") is None
    assert (here.goes_first("1"), here.goes_first("1")) == (True, False)
    for process in (here, elsewhere):
        held = await process.held(client, "a", "2")
        assert held is not None and held[1] < NEARLY
        assert not process.goes_first("2")
    await limits.passed(client, "a", "2")  # it was not the one
    assert await here.held(client, "a", "2") is not None
    await limits.passed(client, "a", "1")
    assert await here.held(client, "a", "2") is None
    assert client.kept == {}


async def test_who_goes_first_and_is_at_work_for_long_has_reached_the_provider(
    clock: Ahead,
) -> None:
    client, here = MemoryRunStore(), Limits(clock)
    await reached(clock, client, HOUR)
    clock.forward(HOUR + MINUTE)
    assert await here.held(client, "a", "1") is None
    assert await here.held(client, "a", "2") is not None
    clock.forward(2 * MINUTE)
    assert await here.held(client, "a", "2") is None


async def test_a_limit_that_comes_back_holds_again(clock: Ahead) -> None:
    client, here = MemoryRunStore(), Limits(clock)
    await reached(clock, client, HOUR)
    clock.forward(HOUR + MINUTE)
    assert await here.held(client, "a", "1") is None
    await reached(clock, client, HOUR)
    assert await here.held(client, "a", "1") is not None


async def test_what_people_read(clock: Ahead) -> None:
    limit = await reached(clock, MemoryRunStore(), 7 * DAY)
    assert (
        limit.in_words(clock.now())
        == f"Provider limit (5-hour); goes on at {limit.until:%Y-%m-%d %H:%M} UTC"
    )
