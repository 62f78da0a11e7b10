"""The JSON board cannot be read while an agent works and ends: what is due is made afterwards."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, JsonFileAdapter
from athanore.agent_adapters.base import AgentJob
from tests.harness import app_name, prompt, running
from tests.support import wait_until


def truncated(board: Path) -> None:
    board.write_text("")


def gone(board: Path) -> None:
    board.unlink()


class Breakage:
    """Takes the file away in one way, and puts it back as it was."""

    def __init__(self, board: Path, take_away: Callable[[Path], None]) -> None:
        self._board = board
        self._take_away = take_away
        self._text = ""

    def begin(self) -> None:
        self._text = self._board.read_text()
        self._take_away(self._board)

    def end(self) -> None:
        self._board.write_text(self._text)


class Comments:
    """An agent that comments while the board is away, and fails when it is away once more."""

    def __init__(self, breakage: Breakage) -> None:
        self.breakage = breakage
        self.refusals: list[httpx.Response] = []
        self.failed = threading.Event()

    async def run(self, job: AgentJob) -> AgentResult:
        if job.attempt > 1:
            return AgentResult(AgentOutcome.SUCCEEDED)
        self.breakage.begin()
        headers = {"Authorization": f"Bearer {job.env['ATHANORE_TOKEN']}", "Idempotency-Key": "k"}
        url = f"{job.env['ATHANORE_API_URL']}/tasks/{job.task.id}/comments"
        async with httpx.AsyncClient(headers=headers, timeout=60) as http:

            async def post() -> httpx.Response:
                return await http.post(url, json={"comment": "Half of it works."})

            while (answer := await post()).status_code == 503:
                self.refusals.append(answer)
                await asyncio.sleep(0.2)
            assert answer.status_code == 201, answer.text
            assert (await post()).status_code == 201, "as if the first answer had been lost"
        self.breakage.begin()
        self.failed.set()
        return AgentResult(AgentOutcome.FAILED, "exit code 2")


@pytest.mark.parametrize("how", [truncated, gone])
@pytest.mark.nightly
def test_comments_and_moves_are_made_once_and_in_order(
    prefect_api: str, tmp_path: Path, how: Callable[[Path], None]
) -> None:
    path = tmp_path / "board.json"
    queues = {"Todo": [{"id": "1", "name": "Fix it"}], "In Progress": [], "Done": []}
    path.write_text(json.dumps({"queues": queues}))
    agent = Comments(Breakage(path, how))
    app = AgentDispatcher(
        name=app_name("away"), queue_backend=JsonFileAdapter(path), default_agent=agent,
        api_port=0, poll_interval=2, max_retries=1,
    )  # fmt: skip
    app.route("Todo", done_queue="Done", retry_delay=0)(prompt)
    with running(app, prefect_api) as it:

        def refused_polls() -> int:
            polls = it.prefect.runs(kind="poll")
            return sum(r["state_name"] == "BoardUnavailable" for r in polls)

        wait_until("the agent was refused twice", lambda: len(agent.refusals) >= 2)
        wait_until("two polls were refused", lambda: refused_polls() >= 2)
        agent.breakage.end()
        wait_until("the agent has failed", agent.failed.is_set)
        polls = refused_polls()
        wait_until("polls are refused again", lambda: refused_polls() > polls)
        assert it.prefect.run("1")["state_name"] == "Running", "it waits for the board"
        agent.breakage.end()
        it.in_queue("1", "Done")
        assert it.prefect.ended("1")["state_name"] == "Completed"
        assert it.comments("1") == [
            "Half of it works.",
            "Retry 1/1: exit code 2. Moving back to source queue for retry.",
        ]
        ids = [r["id"] for r in it.prefect.runs(kind="poll")]
        body = {"logs": {"flow_run_id": {"any_": ids}, "level": {"ge_": logging.ERROR}}}

        def said() -> list[str]:
            lines = it.prefect.post("/logs/filter", body)
            return [line["message"].partition(";")[0] for line in lines]

        wait_until("it was logged", said)
        assert said() in (["The board is away"], ["The board is away"] * 2), "once each time"
    assert all(int(r.headers["retry-after"]) > 0 for r in agent.refusals)
