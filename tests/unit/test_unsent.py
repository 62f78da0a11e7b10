"""At its end a process sends what Prefect is to hear, and does not wait for one that is away."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prefect._internal.concurrency.services import QueueService

from athanore.launch import unsent
from athanore.launch.unsent import send_the_rest


class Said(QueueService[str]):
    """A service of Prefect's kind, whose server answers when it is let."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.heard: list[str] = []
        self.there = threading.Event()
        self.begun = threading.Event()

    async def _handle(self, item: str) -> None:
        self.begun.set()
        while not self.there.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.heard.append(item)


@pytest.fixture
def said() -> Iterator[Said]:
    service = Said.instance()
    yield service
    service.there.set()
    service.drain()


async def test_what_waits_is_sent(said: Said) -> None:
    said.there.set()
    for number in range(20):
        said.send(str(number))
    assert await send_the_rest((Said,), timedelta(minutes=1)) == 0
    assert said.heard == [str(number) for number in range(20)]


async def test_what_a_server_that_is_away_does_not_take_is_let_go(
    said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        said.send(str(number))
    await asyncio.to_thread(said.begun.wait)
    with caplog.at_level(logging.WARNING, "athanore"):
        assert await send_the_rest((Said,), timedelta(0)) == 19
    assert "Prefect has not taken the last 19 log lines and events" in caplog.text
    # The one that was being sent is not waited for either when the process exits.
    exiting = said.drain()
    assert not isinstance(exiting, bool)
    async with asyncio.timeout(10):
        await exiting
    assert said.heard == []


async def test_who_waits_for_prefect_is_told(
    said: Said, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="athanore")
    monkeypatch.setattr(unsent, "_SOON", 0.1)
    said.send("a line")
    await asyncio.to_thread(said.begun.wait)
    sending = asyncio.create_task(send_the_rest((Said,), timedelta(seconds=60.1)))
    async with asyncio.timeout(60):
        while "last log lines and events, 60 s more at most" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    said.there.set()
    assert await asyncio.wait_for(sending, 60) == 0
    assert said.heard == ["a line"]
