"""How long ago an agent has called the task API of another process, by no clock but Prefect's."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore.runs.connection.clock import Clock
from athanore.runs.events import activity
from athanore.runs.prefect_store import PrefectRunStore


@pytest.mark.parametrize("hours", [3, -3])
async def test_a_call_is_not_older_or_younger_because_our_clock_was_set(
    prefect_api: str, hours: int
) -> None:
    # The clock of the worker's host; the event is sent with another's.
    clock = Clock(lambda: time.time() + hours * 3600)
    run_id = uuid4()
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        async with PrefectRunStore(prefect_api) as client:
            assert await activity.since_last_call(client, run_id, clock) is None
            activity.note_call("app", run_id, "1")
            ago = await when_known(client, run_id, clock)
    assert timedelta(0) <= ago < timedelta(minutes=10)


async def when_known(client: PrefectRunStore, run_id: UUID, clock: Clock) -> timedelta:
    """Ask until the event is in Prefect's database."""
    for _ in range(2400):
        if (ago := await activity.since_last_call(client, run_id, clock)) is not None:
            return ago
        await asyncio.sleep(0.1)
    raise AssertionError("the event did not come")
