"""A server of our own that dies is started again, but not for ever."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from athanore.errors import PrefectUnavailableError
from athanore.launch.prefect import own_prefect
from athanore.launch.prefect.own_prefect import OwnPrefect

URL = "http://127.0.0.1:4200/api"


class Processes:
    """Stand for servers: each sleeps, or ends at once."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.program = "import time; time.sleep(600)"

    def spawn(self, mark: Mapping[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", self.program],
            env={**os.environ, **mark}, start_new_session=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    async def answers(self) -> bool:
        return self.program.endswith("sleep(600)")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_server_that_is_killed_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    processes = Processes()
    own = OwnPrefect(URL, processes.spawn, processes.answers)
    await own.start()
    watch = asyncio.create_task(own.watch())
    try:
        os.killpg(processes.started[0].pid, signal.SIGKILL)
        await until(lambda: f"The Prefect server is back at {URL}." in caplog.messages)
        assert "The Prefect server has ended (exit code -9)" in caplog.text
        assert [p.poll() for p in processes.started] == [-9, None]
    finally:
        watch.cancel()
        await own.stop()
    assert processes.started[1].poll() is not None


async def test_a_server_that_dies_again_and_again_is_given_up() -> None:
    processes = Processes()
    own = OwnPrefect(URL, processes.spawn, processes.answers)
    await own.start()
    processes.program = "raise SystemExit(3)"
    os.killpg(processes.started[0].pid, signal.SIGKILL)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(PrefectUnavailableError, match=r"ended 3 times .* \(exit code 3"):
                await own.watch()
    finally:
        await own.stop()
    assert len(processes.started) == 3


async def test_its_end_is_waited_for_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(own_prefect, "_SOON", 0.1)
    monkeypatch.setattr(own_prefect, "_STOP_TIMEOUT", 1.1)
    ready = tmp_path / "ready"
    processes = Processes()
    processes.program = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    )
    own = OwnPrefect(URL, processes.spawn, processes.answers)
    await own.start()
    try:
        await until(ready.exists)
    finally:
        await own.stop()
    assert caplog.messages == ["Waiting for the Prefect server to end, 1 s more at most."]
    assert processes.started[0].poll() == -9
