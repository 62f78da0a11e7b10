"""When a worker looks for due runs before its next regular look."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from athanore.worker.taking.alarms import Alarms


def now() -> datetime:
    return datetime.now(UTC)


async def goes_off(alarms: Alarms, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await alarms.next()
    except TimeoutError:
        return False
    return True


async def test_it_goes_off_when_it_is_set_and_once_for_many() -> None:
    alarms = Alarms(now)
    assert not await goes_off(alarms, 0.1)
    alarms.set()
    alarms.set(now())
    alarms.set()
    assert await goes_off(alarms, 5)
    assert not await goes_off(alarms, 0.1)


async def test_it_does_not_go_off_before_its_time() -> None:
    alarms = Alarms(now)
    at = now() + timedelta(seconds=0.3)
    waiting = asyncio.create_task(alarms.next())
    await asyncio.sleep(0)
    alarms.set(at)  # it is the first one, and still no reason to look now
    await waiting
    assert now() >= at
    assert not await goes_off(alarms, 0.1)


async def test_the_next_look_after_one_is_there_once() -> None:
    """Looks between two of a series do not begin another series."""
    alarms = Alarms(now)
    for _ in range(3):
        alarms.again(now() + timedelta(seconds=0.2))
    assert await goes_off(alarms, 5)
    assert not await goes_off(alarms, 0.4)
    alarms.again(now() + timedelta(seconds=0.1))
    alarms.again(None)
    assert not await goes_off(alarms, 0.3)


async def test_what_is_set_for_a_time_stays_beside_the_next_look() -> None:
    alarms = Alarms(now)
    alarms.set(now() + timedelta(seconds=0.1))
    alarms.again(now() + timedelta(seconds=0.3))
    assert await goes_off(alarms, 0.25)
    assert await goes_off(alarms, 5)
    assert not await goes_off(alarms, 0.4)
