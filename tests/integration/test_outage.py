"""Prefect goes away while agents work: they go on, and what they do is delivered later."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from tests import postgres
from tests.harness import app_name, prompt, running
from tests.postgres import SQLITE
from tests.support import LOCAL, free_port, prefect_server, wait_until


class Waits:
    """An agent that ends well when it is let go; one of its tasks it moves first."""

    def __init__(self) -> None:
        self.started = 0
        self.ended = 0
        self.moved = 0
        self.go = threading.Event()
        self.finish = threading.Event()

    async def run(self, job: AgentJob) -> AgentResult:
        self.started += 1
        await asyncio.to_thread(self.go.wait)
        if job.task.name == "Move it":
            await asyncio.to_thread(self._move, job)
            self.moved += 1
            await asyncio.to_thread(self.finish.wait)
        self.ended += 1
        return AgentResult(AgentOutcome.SUCCEEDED)

    def _move(self, job: AgentJob) -> None:
        LOCAL.post(
            f"{job.env['ATHANORE_API_URL']}/tasks/{job.task.id}/move",
            json={"target_queue": "Review"},
            headers={"Authorization": f"Bearer {job.env['ATHANORE_TOKEN']}"},
            timeout=60,
        ).raise_for_status()


@contextmanager
def _address(database: str) -> Generator[str | None]:
    """Where a server keeps its data; None for SQLite in its own home."""
    if database == SQLITE:
        yield None
        return
    postgres.require()
    with postgres.database() as url:
        yield url


@pytest.mark.nightly
@pytest.mark.postgres
def test_what_happens_during_an_outage_is_delivered_and_nothing_runs_twice(
    tmp_path: Path, database: str
) -> None:
    agent = Waits()
    board = MemoryAdapter(["Todo", "In Progress", "Review", "Done"])
    task = board.create_task("Todo", "Fix it")
    moving = board.create_task("Todo", "Move it")
    later = board.create_task("In Progress", "Later")
    app = AgentDispatcher(
        name=app_name("outage"), queue_backend=board, default_agent=agent, api_port=0,
        poll_interval=2, max_retries=3,
    )  # fmt: skip
    app.route("Todo", done_queue="Done")(prompt)
    port = free_port()
    with _address(database) as address:
        first = prefect_server(tmp_path / "home", address, port)
        url = first.__enter__()
        with running(app, url, keep=True) as it:
            wait_until("the agents work", lambda: agent.started == 2)
            outages = it.app.local_runs.outages()
            first.__exit__(None, None, None)
            away_since = time.monotonic()
            agent.go.set()
            wait_until("an agent has ended", lambda: agent.ended)
            wait_until("the other one has moved its task", lambda: agent.moved)
            wait_until("the worker has noticed", lambda: it.app.local_runs.outages() > outages)
            away = timedelta(seconds=20)  # `make chaos` has outages of 90 and 180 s
            wait_until(
                "Prefect has been away for long",
                lambda: time.monotonic() - away_since > away.total_seconds(),
            )
            with prefect_server(tmp_path / "home", address, port):
                run = it.prefect.ended(task.id, 90)
                assert run["state_name"] == "Completed"
                assert it.place(task.id) == "Done"
                noted = it.prefect.run(moving.id)["id"]
                noted_moves = f"/flow_runs/{noted}/input/filter"
                wait_until(
                    "its move is noted",
                    lambda: it.prefect.post(noted_moves, {"prefix": "athanore-moved-1-"}),
                )
                it.app.margins = replace(it.app.margins, catching_up=timedelta(0))
                polls = it.prefect.polls_ended()
                wait_until("polls have seen it", lambda: it.prefect.polls_ended() > polls + 1)
                agent.finish.set()
                assert it.prefect.ended(moving.id)["state_name"] == "Completed"
                assert it.place(moving.id) == "Review"
                it.board.move_task(later.id, "Todo")
                it.in_queue(later.id, "Done", 90)
                it.stop.request()
                it.stopped()
    assert agent.started == 3
