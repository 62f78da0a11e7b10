"""Prefect goes away while an agent works: the agent goes on, and its end is delivered later."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from pathlib import Path

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.flows import control
from tests import postgres
from tests.harness import app_name, prompt, running
from tests.support import free_port, prefect_server, wait_until


class Waits:
    """An agent that ends well when it is let go."""

    def __init__(self) -> None:
        self.started = 0
        self.ended = 0
        self.go = threading.Event()

    async def run(self, job: AgentJob) -> AgentResult:
        self.started += 1
        await asyncio.to_thread(self.go.wait)
        self.ended += 1
        return AgentResult(AgentOutcome.SUCCEEDED)


def test_a_success_during_an_outage_is_delivered_and_nothing_runs_twice(tmp_path: Path) -> None:
    postgres.require()
    agent = Waits()
    board = MemoryAdapter(["Todo", "In Progress", "Done"])
    task = board.create_task("Todo", "Fix it")
    later = board.create_task("In Progress", "Later")
    app = AgentDispatcher(
        name=app_name("outage"), queue_backend=board, default_agent=agent, api_port=0,
        poll_interval=2, max_retries=3,
    )  # fmt: skip
    app.route("Todo", done_queue="Done")(prompt)
    port = free_port()
    with postgres.database() as database:
        first = prefect_server(tmp_path / "home", database, port)
        url = first.__enter__()
        with running(app, url, keep=True) as it:
            wait_until("the agent works", lambda: agent.started)
            outages = control.outages()
            first.__exit__(None, None, None)
            away_since = time.monotonic()
            agent.go.set()
            wait_until("the agent has ended", lambda: agent.ended)
            wait_until("the worker has noticed", lambda: control.outages() > outages)
            away = timedelta(seconds=20)  # `make chaos` has outages of 90 and 180 s
            wait_until(
                "Prefect has been away for long",
                lambda: time.monotonic() - away_since > away.total_seconds(),
            )
            with prefect_server(tmp_path / "home", database, port):
                run = it.prefect.ended(task.id, 90)
                assert run["state_name"] == "Completed"
                assert it.place(task.id) == "Done"
                it.board.move_task(later.id, "Todo")
                it.in_queue(later.id, "Done", 90)
                it.stop.request()
                it.stopped()
    assert agent.started == 2
