"""How many may read streams of events, and what one more is told."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from athanore.api.events import live
from athanore.api.events.live import EVERY_TASK, LiveEvents
from athanore.api.problems import Problem
from tests.api.conftest import dispatcher
from tests.api.rig import served
from tests.support import wait_until


def test_one_reader_too_many_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "_MAX_READERS", 1)
    path = "/overview/events"
    with served(dispatcher(tmp_path)) as api:
        with httpx.stream("GET", api.url + path, timeout=60) as response:
            assert response.status_code == 200
            lines = response.iter_lines()  # with which the stream would be closed
            assert next(lines) == "retry: 2000"
            problem = api.get(path, 503)
            assert problem["type"] == "urn:athanore:problem:too-many-readers"
            assert api.http.get(path).headers["retry-after"] == "5"

        def is_free() -> bool:
            with httpx.stream("GET", api.url + path, timeout=60) as response:
                return response.status_code == 200

        wait_until("its place is free", is_free)
    assert "Traceback" not in caplog.text


async def test_no_agent_takes_the_places_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_MAX_OF_AN_AGENT", 2)
    events, greedy = LiveEvents("app"), uuid4()
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(events.subscribe(EVERY_TASK, greedy))
        with pytest.raises(Problem, match="2 event streams"):
            await stack.enter_async_context(events.subscribe(EVERY_TASK, greedy))
        for other in (uuid4(), None, None, None):
            await stack.enter_async_context(events.subscribe(EVERY_TASK, other))
    async with events.subscribe(EVERY_TASK, greedy):
        pass
    await events.stopped()
