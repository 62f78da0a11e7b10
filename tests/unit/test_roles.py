"""A worker that is started while Prefect comes and goes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from athanore.errors import PrefectUnavailableError
from athanore.launch import parts
from athanore.launch.stopping import Stop

NAMED = "http://127.0.0.1:9/api"


OFTEN = timedelta(milliseconds=10)


async def test_a_prefect_that_goes_away_while_a_worker_starts_is_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop = Stop()
    stop.bind()
    hurdles = [httpx.ConnectError("gone"), httpx.ReadTimeout("slow"), PrefectUnavailableError("no")]

    async def ask() -> str:
        if hurdles:
            raise hurdles.pop(0)
        return "there"

    with temporary_settings({PREFECT_API_URL: NAMED}):
        assert await parts.once_prefect_answers(ask, stop, OFTEN) == "there"
    said = [r.getMessage() for r in caplog.records]
    assert said == ["Prefect does not answer any more: gone. The worker waits for it."]


async def test_a_worker_that_waits_for_prefect_can_be_stopped() -> None:
    stop = Stop()
    stop.bind()
    asked = asyncio.Event()

    async def ask() -> str:
        asked.set()
        raise httpx.ConnectError("gone")

    with temporary_settings({PREFECT_API_URL: NAMED}):
        waiting = asyncio.create_task(parts.once_prefect_answers(ask, stop, OFTEN))
        await asked.wait()
        stop.request()
        assert await waiting is None
