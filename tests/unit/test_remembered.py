"""Values that are read once for all who ask, and count for a short time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun

from athanore import AgentDispatcher, MemoryAdapter, Task
from athanore.api.memory.remembered import Remembered
from athanore.api.routers.tasks import list_runs
from athanore.api.service import Service
from athanore.errors import PrefectUnavailableError
from athanore.runtime.apps import App


class Source:
    """What is read: it answers when it is told to, with the number of the reading."""

    def __init__(self) -> None:
        self.readings = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_away = False
        self.now = 0.0
        self.kept = Remembered(self._read, timedelta(seconds=2), lambda: self.now)

    async def _read(self, key: str) -> str:
        self.readings += 1
        number = self.readings
        await self.may_answer.wait()
        if self.is_away:
            raise PrefectUnavailableError("away")
        return f"{key}{number}"


async def test_an_answer_counts_for_two_seconds_from_when_its_reading_began() -> None:
    source = Source()
    assert await source.kept.get("a") == "a1"
    source.now = 1.9
    assert await source.kept.get("a") == "a1"
    assert await source.kept.get("b") == "b2"
    source.now = 2.0
    assert await source.kept.get("a") == "a3"


async def test_all_who_ask_meanwhile_share_one_reading() -> None:
    source = Source()
    source.may_answer.clear()
    asking = [asyncio.create_task(source.kept.get("a")) for _ in range(20)]
    await asyncio.sleep(0)
    source.may_answer.set()
    assert set(await asyncio.gather(*asking)) == {"a1"}


async def test_who_has_written_does_not_share_a_reading_of_before() -> None:
    source = Source()
    source.may_answer.clear()
    before = asyncio.create_task(source.kept.get("a"))
    await asyncio.sleep(0)
    source.kept.forget("a")
    after = asyncio.create_task(source.kept.get("a"))
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await before == "a1"
    assert await after == "a2"
    assert await source.kept.get("a") == "a2"


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    source = Source()
    source.may_answer.clear()
    first = asyncio.create_task(source.kept.get("a"))
    second = asyncio.create_task(source.kept.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    source.may_answer.set()
    assert await second == "a1"


async def test_an_error_goes_to_all_who_wait_and_is_not_kept() -> None:
    source = Source()
    source.is_away = True
    answers = await asyncio.gather(
        *(source.kept.get("a") for _ in range(2)), return_exceptions=True
    )
    assert [type(a) for a in answers] == [PrefectUnavailableError] * 2
    assert source.readings == 1
    source.is_away = False
    assert await source.kept.get("a") == "a2"


class Remote:
    """A board that has no change stamp, and counts how often a task is read."""

    def __init__(self) -> None:
        self._inner = MemoryAdapter(["Todo"])
        self._inner.create_task("Todo", "Fix it")
        self.readings = 0

    def __getattr__(self, name: str) -> Any:
        if name == "change_stamp":
            raise AttributeError(name)
        return getattr(self._inner, name)

    def get_task(self, task_id: str) -> Task:
        self.readings += 1
        return self._inner.get_task(task_id)


async def test_a_task_that_is_shown_and_its_runs_are_one_reading_of_a_remote_board(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def history(_: str) -> list[FlowRun]:
        return []

    board: Any = Remote()
    app = App("run.py:dispatcher", AgentDispatcher("true", name="remote", queue_backend=board))
    service = Service(app)
    monkeypatch.setattr(service.runs, "history", history)
    await service.shown("1")
    assert await list_runs("1", service) == []
    assert board.readings == 1
