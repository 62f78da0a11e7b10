"""Work that nobody waits for does not end in silence."""

from __future__ import annotations

import asyncio
import logging

import pytest

from athanore.errors import PrefectUnavailableError
from athanore.runtime.background import kept_up, tell_failure


async def test_work_that_fails_is_logged_and_done_again(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [RuntimeError("500"), PrefectUnavailableError("away")]

    async def work() -> None:
        if errors:
            raise errors.pop(0)

    async with asyncio.timeout(60):
        await kept_up("The watch for stalls", work, pause=0)
    assert errors == []
    first, second = caplog.messages
    assert first == "The watch for stalls failed; again in 0 s."
    assert caplog.records[0].exc_info is not None
    assert second == "The watch for stalls failed (away); again in 0 s."


async def test_a_rare_error_is_not_paid_for_with_the_pause_of_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    took = [0.0, 0.0, 3600.0, 0.0]  # seconds until each error
    clock = [0.0]

    async def work() -> None:
        if took:
            clock[0] += took.pop(0)
            raise PrefectUnavailableError("away")

    async with asyncio.timeout(60):
        await kept_up("The watch", work, pause=0.001, now=lambda: clock[0])
    pauses = [line.partition("again in ")[2] for line in caplog.messages]
    assert pauses == ["0.001 s.", "0.002 s.", "0.001 s.", "0.002 s."]


async def test_work_that_is_cancelled_ends() -> None:
    work = asyncio.create_task(kept_up("It", asyncio.Event().wait, pause=0))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_a_task_that_nobody_waits_for_tells_why_it_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise ValueError("a bug")

    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(work(), name="Run 'x'")
        task.add_done_callback(tell_failure)
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert caplog.messages == ["Run 'x' failed."]
