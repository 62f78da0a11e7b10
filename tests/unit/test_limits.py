"""The limits of providers: until when an account waits, and who goes first after that."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from datetime import timedelta
from email.utils import formatdate

import pytest

from athanore.models import Fault, FaultKind
from athanore.runs import clock, limits
from athanore.runs.limits import Limits
from tests.memory_prefect import MemoryPrefect

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NEARLY = timedelta(seconds=10)

type Later = Callable[[timedelta], None]


@pytest.fixture
def later() -> Generator[Later]:
    """Have Prefect's clock go forward."""
    passed = timedelta(0)

    def forward(by: timedelta) -> None:
        nonlocal passed
        passed += by
        clock.heard(formatdate(time.time() + passed.total_seconds(), usegmt=True))

    yield forward
    clock.heard(formatdate(usegmt=True))


def fault(after: timedelta | None = None) -> Fault:
    reset = None if after is None else clock.now() + after
    return Fault(FaultKind.PROVIDER, retry_at=reset, text="5-hour")


async def waits(client: MemoryPrefect, after: timedelta | None) -> timedelta:
    return (await limits.reached(client, "a", fault(after))).until - clock.now()


@pytest.mark.parametrize("after", [MINUTE, 5 * HOUR, 7 * DAY])
async def test_the_reset_that_the_provider_tells_counts(after: timedelta) -> None:
    assert after - NEARLY < await waits(MemoryPrefect(), after) < after + NEARLY


@pytest.mark.parametrize("after", [None, -MINUTE, -DAY, 9 * DAY])
async def test_a_reset_that_cannot_be_right_is_as_none(after: timedelta | None) -> None:
    wait = await waits(MemoryPrefect(), after)
    assert 15 * MINUTE - NEARLY < wait <= 15 * MINUTE


async def test_without_a_reset_the_wait_doubles_up_to_two_hours(later: Later) -> None:
    client, found = MemoryPrefect(), list[int]()
    for _ in range(6):
        wait = await waits(client, None)
        found.append(round(wait / MINUTE))
        later(wait + MINUTE)
    assert found == [15, 30, 60, 120, 120, 120]


async def test_agents_that_hit_it_together_are_one_limit() -> None:
    client = MemoryPrefect()
    assert await waits(client, 3 * HOUR) > 3 * HOUR - NEARLY
    assert 3 * HOUR - NEARLY < await waits(client, None) < 3 * HOUR + NEARLY
    assert await waits(client, 4 * HOUR) > 4 * HOUR - NEARLY


async def test_nobody_starts_before_the_reset_and_then_one_goes_first(later: Later) -> None:
    client, here, elsewhere = MemoryPrefect(), Limits(), Limits()
    assert await here.held(client, "a", "1") is None
    limit = await limits.reached(client, "a", fault(HOUR))
    for process in (here, elsewhere, Limits()):  # over hosts and restarts
        held = await process.held(client, "a", "1")
        assert held is not None and held[0] == limit
        assert HOUR - NEARLY < held[1] < HOUR + NEARLY
    assert await here.held(client, "another account", "1") is None
    later(HOUR + MINUTE / 2)
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
    assert client.variables == {}


async def test_who_goes_first_and_is_at_work_for_long_has_reached_the_provider(
    later: Later,
) -> None:
    client, here = MemoryPrefect(), Limits()
    await limits.reached(client, "a", fault(HOUR))
    later(HOUR + MINUTE)
    assert await here.held(client, "a", "1") is None
    assert await here.held(client, "a", "2") is not None
    later(2 * MINUTE)
    assert await here.held(client, "a", "2") is None


async def test_a_limit_that_comes_back_holds_again(later: Later) -> None:
    client, here = MemoryPrefect(), Limits()
    await limits.reached(client, "a", fault(HOUR))
    later(HOUR + MINUTE)
    assert await here.held(client, "a", "1") is None
    await limits.reached(client, "a", fault(HOUR))
    assert await here.held(client, "a", "1") is not None


async def test_what_people_read() -> None:
    limit = await limits.reached(MemoryPrefect(), "a", fault(7 * DAY))
    assert str(limit) == f"Provider limit (5-hour); goes on at {limit.until:%Y-%m-%d %H:%M} UTC"
