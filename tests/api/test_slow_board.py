"""A board that takes longer than Prefect may: that is not taken for a Prefect that is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import override

import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from athanore.errors import BoardUnavailableError
from athanore.models import Queue
from athanore.runtime.margins import Margins
from tests.api.conftest import write_prompt
from tests.api.rig import Api, served
from tests.harness import app_name

PATIENCE = timedelta(seconds=5)


class Slow(JsonFileAdapter):
    """A board on which writes, and reads of all queues, take longer than Prefect may."""

    slow = False
    refusals = 0

    def _wait(self) -> None:
        if self.slow:
            threading.Event().wait(PATIENCE.total_seconds() + 0.5)

    @override
    def move_task(self, task_id: str, target_queue: str) -> None:
        self._wait()
        if self.refusals:
            self.refusals -= 1
            raise BoardUnavailableError("The board is away.")
        super().move_task(task_id, target_queue)

    @override
    def list_queues(self) -> list[Queue]:
        self._wait()
        return super().list_queues()


@pytest.fixture
def board(tmp_path: Path) -> Slow:
    path = tmp_path / "board.json"
    path.write_text(
        '{"queues": {"Todo": [], "In Progress": [], "Other": [], "Failed": '
        '[{"id": "4711", "name": "a"}, {"id": "4712", "name": "b"}]}}'
    )
    return Slow(path)


@pytest.fixture
def api(board: Slow, prefect_api: str) -> Iterator[Api]:
    app = AgentDispatcher(
        name=app_name("slow"), queue_backend=board, command="true", poll_interval=86400,
        dead_letter_queue="Failed", enable_queue_management=True,
    )  # fmt: skip
    app.route("Todo")(write_prompt)
    margins = Margins(prefect=PATIENCE, route_change=PATIENCE)
    with served(app, prefect_api, margins=margins) as it:
        yield it


def test_a_slow_board_is_not_blamed_on_prefect(api: Api, board: Slow) -> None:
    board.slow = True
    answer = api.http.post("/tasks/4711/requeue", json={})
    if answer.status_code == 503:  # a busy Prefect may itself take too long, once
        answer = api.http.post("/tasks/4712/requeue", json={})
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "Scheduled"
    board.slow = False
    assert board.get_ready_tasks(["Todo"])


def test_a_route_is_made_on_a_slow_board(api: Api, board: Slow) -> None:
    board.slow = True
    body = {"queue_name": "Nowhere", "prompt": "x", "command": "true"}
    answer = api.http.post("/routes", json=body)
    if answer.status_code == 503:  # a busy Prefect may itself take too long, once
        answer = api.http.post("/routes", json=body)
    assert answer.status_code == 404, answer.text
    assert answer.json()["type"].endswith("queue-not-found")


def test_a_requeue_that_is_repeated_says_it_once(api: Api, board: Slow) -> None:
    board.refusals = 1
    assert api.post("/tasks/4712/requeue", {}, 503)["type"].endswith("board-unavailable")
    api.post("/tasks/4712/requeue", {}, 202)
    (said,) = board.get_task("4712").comments
    assert said.text.startswith("Requeued by")
