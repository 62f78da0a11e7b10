"""The end of an app in the foreground, and the keys that it listens to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import termios
from datetime import timedelta
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from athanore import AgentDispatcher, MemoryAdapter
from athanore.launch.stopping import Stop
from athanore.launch.terminal import keyboard
from athanore.launch.terminal.ending import LastLine, shut_down
from athanore.runs.capacity import pausing
from athanore.runs.connection import telling
from athanore.runtime.apps import App
from tests.harness import prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory


class Busy:
    """A worker whose agents work until they are stopped, or for so long."""

    def __init__(self, agents: list[str], seconds: float) -> None:
        self.agents = agents
        self._seconds = seconds
        self._stopped = asyncio.Event()

    async def drain(self, grace: timedelta) -> None:
        """Wait for the agents."""
        limit = min(self._seconds, grace.total_seconds())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), limit)
        self.agents = []

    def stop_agents(self) -> None:
        """Stop them."""
        self._stopped.set()


class Deaf(Busy):
    """One whose agents do not hear that they are to stop."""

    def stop_agents(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Let them end."""
        super().stop_agents()


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def test_it_says_what_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="athanore")
    started = [asyncio.create_task(asyncio.sleep(600))]
    busy = Busy(["Fix it", "Add\nit"], 600)
    ending = asyncio.create_task(
        shut_down([busy, Busy([], 0)], started, Stop(), timedelta(seconds=900), said_every=0.1)
    )
    async with asyncio.timeout(60):
        while len(_said(caplog)) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    busy.stop_agents()
    await asyncio.wait_for(ending, 60)
    said = _said(caplog)
    assert said[0] == "2 agents may finish within 900 s (Ctrl-C again: stop now)."
    says = r"Waiting for 2 agents, (\d+) s more at most: Fix it, Add it"
    waiting = [re.fullmatch(says, s) for s in said[1:]]
    assert all(found and 800 < int(found[1]) <= 900 for found in waiting), said
    assert started[0].cancelled()


async def test_a_live_view_is_told_each_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="athanore")
    stop, line = Stop(), LastLine()
    stop.bind()
    deaf = Deaf(["Fix it"], 600)
    work = asyncio.create_task(asyncio.sleep(600))
    ending = asyncio.create_task(shut_down([deaf], [work], stop, timedelta(seconds=900), line))
    shown: list[str] = []
    async with asyncio.timeout(60):
        while len(shown) < 3:
            if line.text and line.text not in shown:
                shown.append(line.text)
            await asyncio.sleep(0.01)
        assert re.fullmatch(r"Waiting for 1 agent, 8\d\d s more at most: Fix it", shown[-1])
        stop.request()
        stop.request()
        while line.text != "Stopping 1 agent: Fix it":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    deaf.end()
    await asyncio.wait_for(ending, 60)
    assert line.text == ""
    assert len(_said(caplog)) == 1, "the live view says the rest"


async def test_who_asks_twice_waits_no_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="athanore")
    stop = Stop()
    stop.bind()
    ending = asyncio.create_task(
        shut_down(
            [Busy(["Fix it"], 600)], [asyncio.create_task(asyncio.sleep(600))], stop, timedelta(60)
        )
    )
    await asyncio.sleep(0)
    stop.request()
    stop.request()
    await asyncio.wait_for(ending, 60)


async def test_keys_are_heard_at_once_and_the_terminal_is_as_before() -> None:
    ours, theirs = os.openpty()
    heard: asyncio.Queue[str] = asyncio.Queue()
    before = termios.tcgetattr(theirs)
    actions = {key: lambda key=key: heard.put_nowait(key) for key in "opq"}
    with keyboard.listening(actions, theirs) as listens:
        assert listens
        os.write(ours, b"xOq")
        assert [await asyncio.wait_for(heard.get(), 60) for _ in range(2)] == ["o", "q"]
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


async def test_without_a_terminal_nothing_is_listened_to() -> None:
    with keyboard.listening({}) as listens:
        assert not listens


class Pausing(keyboard.Keys):
    """Keys without a Prefect: whether they pause is noted."""

    paused = 0

    async def _pause_or_resume(self, app: App) -> None:
        self.paused += 1


async def test_keys_before_prefect_is_there_are_done_as_soon_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="athanore")
    app = App("run.py:dispatcher", AgentDispatcher("true", queue_backend=MemoryAdapter(["Todo"])))
    reloaded = asyncio.Event()

    async def reload() -> None:
        reloaded.set()

    stop = Stop()
    once, twice = Pausing("http://x", stop), Pausing("http://x", stop)
    once.actions["p"]()
    once.actions["r"]()
    for _ in range(2):
        twice.actions["p"]()
    assert _said(caplog)[:2] == [
        "Prefect is starting; all routes are then paused, before an agent starts.",
        "Prefect is starting; press r again when it is there.",
    ]
    await once.ready(app, reload)
    await twice.ready(app, reload)
    assert (once.paused, twice.paused) == (1, 0)
    assert not reloaded.is_set()
    once.actions["r"]()
    await asyncio.wait_for(reloaded.wait(), 60)
    once.actions["q"]()
    assert stop.is_requested


async def _nothing() -> None:
    """Reload nothing."""


async def test_a_pause_that_prefect_does_not_hear_is_said_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="athanore")
    app = App("run.py:dispatcher", AgentDispatcher("true", queue_backend=MemoryAdapter(["Todo"])))
    app.dispatcher.route("Todo")(prompt)
    keys = keyboard.Keys("http://x", Stop())
    keys.actions["p"]()
    away: dict[Any, Any] = {
        PREFECT_API_URL: "http://127.0.0.1:1/api",
        PREFECT_CLIENT_MAX_RETRIES: 0,
    }
    with temporary_settings(away):
        await keys.ready(app, _nothing)
    said = _said(caplog)[-1]
    assert said.startswith("Not all routes are paused: Prefect does not answer any more")
    assert said.endswith("Press p to try it again.")

    class Site(MemoryRunStore):
        """One that can be opened."""

        async def __aenter__(self) -> Site:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

    site = Site()
    monkeypatch.setattr(telling, "telling_client", lambda: site)
    deploy_in_memory(site, app.name, "Todo")
    for parts, says in ((("polls", "agents"), "All routes are paused"), ((), "All routes go on")):
        keys.actions["p"]()
        async with asyncio.timeout(60):
            while says not in _said(caplog)[-1]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await pausing.paused_parts(site, app.name, "Todo") == parts
