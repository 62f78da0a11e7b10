"""Polls: each route on its own interval, one at a time, and a board that is away for a while."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import (
    AgentDispatcher,
    AgentOutcome,
    AgentResult,
    JsonFileAdapter,
    MemoryAdapter,
    Task,
)
from athanore.agent_adapters.base import AgentJob
from athanore.errors import BoardUnavailableError
from athanore.runtime.margins import Margins
from tests.harness import app_name, prompt, running
from tests.support import wait_until

pytestmark = pytest.mark.postgres

QUEUES = ["Slow", "Fast", "In Progress", "Done", "Failed"]


class SlowBoard(MemoryAdapter):
    """A board that takes longer to show one queue than the route's interval."""

    def __init__(self) -> None:
        super().__init__(QUEUES)
        self.looked: Counter[str] = Counter()
        self.now: Counter[str] = Counter()
        self.overlapped = False
        self.fast_beside_slow = 0
        self._counting = threading.Lock()

    def change_stamp(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Not known: only polls look."""

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        if len(queue_names) > 1:  # the look after runs, which asks for the queues of all routes
            return super().get_ready_tasks(queue_names)
        queue = queue_names[0]
        with self._counting:
            self.looked[queue] += 1
            self.now[queue] += 1
            self.overlapped |= self.now[queue] > 1
            self.fast_beside_slow += queue == "Fast" and self.now["Slow"] > 0
        try:
            if queue == "Slow":
                time.sleep(3)
            return super().get_ready_tasks(queue_names)
        finally:
            with self._counting:
                self.now[queue] -= 1


class Outcome:
    """An agent that ends as it is told."""

    def __init__(self, outcome: AgentOutcome) -> None:
        self.outcome = outcome
        self.ended = threading.Event()

    async def run(self, job: AgentJob) -> AgentResult:
        self.ended.set()
        return AgentResult(self.outcome, "exit code 2")


@pytest.mark.smoke
def test_a_card_added_by_hand_has_its_agent_whatever_the_interval(
    prefect_api: str, tmp_path: Path
) -> None:
    file = tmp_path / "board.json"
    queues: dict[str, list[dict[str, str]]] = {name: [] for name in QUEUES}
    file.write_text(json.dumps({"queues": queues}))
    app = AgentDispatcher(
        name=app_name("poll"), queue_backend=JsonFileAdapter(file), api_port=0,
        poll_interval=3600, default_agent=Outcome(AgentOutcome.SUCCEEDED),
    )  # fmt: skip
    app.route("Slow", done_queue="Done")(prompt)
    with running(app, prefect_api) as it:
        wait_until("the route was polled", it.prefect.polled)
        queues["Slow"].append({"id": "1", "name": "By hand"})
        file.write_text(json.dumps({"queues": queues}))
        it.in_queue("1", "Done")
        data = json.loads(file.read_text())
        data["queues"]["Slow"].append({"id": "2", "name": "Another one"})
        file.write_text(json.dumps(data))
        it.in_queue("2", "Done")


@pytest.mark.smoke
def test_a_slow_poll_neither_overlaps_itself_nor_starves_another(prefect_api: str) -> None:
    board = SlowBoard()
    app = AgentDispatcher(
        name=app_name("poll"), queue_backend=board, api_port=0, poll_interval=1,
        default_agent=Outcome(AgentOutcome.SUCCEEDED),
    )  # fmt: skip
    app.route("Slow", done_queue="Done")(prompt)
    app.route("Fast", done_queue="Done")(prompt)
    with running(app, prefect_api) as it:
        wait_until("the slow queue was looked at thrice", lambda: board.looked["Slow"] >= 3)
        wait_until("the fast one was, meanwhile", lambda: board.fast_beside_slow >= 2)
        assert not board.overlapped
        slow = board.create_task("Slow", "Last")
        it.in_queue(slow.id, "Done")
    assert not board.overlapped


def test_a_poll_says_that_no_worker_is_on_a_host_of_the_kind_that_its_route_wants(
    prefect_api: str,
) -> None:
    board = MemoryAdapter(QUEUES)
    board.create_task("Slow", "Build")
    app = AgentDispatcher(
        name=app_name("poll"), queue_backend=board, api_port=0, poll_interval=3600,
        default_agent=Outcome(AgentOutcome.SUCCEEDED),
    )  # fmt: skip
    app.route("Slow", done_queue="Done", host="macos")(prompt)
    with running(app, prefect_api) as it:
        said = [poll["state"]["message"] for poll in it.prefect.runs(kind="poll")]
        waits = "they wait for a worker on a host with the label 'macos', and none is online"
        assert f"1 ready, 1 dispatched, 0 under way; {waits}" in said


class AwayBoard(MemoryAdapter):
    """A board that cannot be reached while `away` is set."""

    def __init__(self) -> None:
        super().__init__(QUEUES)
        self.away = threading.Event()
        self.refused = 0

    def _check(self) -> None:
        if self.away.is_set():
            self.refused += 1
            raise BoardUnavailableError("the board is away")

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        self._check()
        return super().get_ready_tasks(queue_names)

    def add_comment(self, task_id: str, text: str) -> None:
        self._check()
        super().add_comment(task_id, text)

    def move_task(self, task_id: str, target_queue: str) -> None:
        self._check()
        super().move_task(task_id, target_queue)


def test_a_dead_letter_that_the_board_could_not_take_is_made_up_for(
    prefect_api: str,
) -> None:
    board = AwayBoard()
    task = board.create_task("Fast", "Fix it")

    class GoesAway(Outcome):
        async def run(self, job: AgentJob) -> AgentResult:
            board.away.set()
            return await super().run(job)

    app = AgentDispatcher(
        name=app_name("poll"), queue_backend=board, api_port=0, poll_interval=2,
        default_agent=GoesAway(AgentOutcome.FAILED), dead_letter_queue="Failed",
    )  # fmt: skip
    app.route("Fast")(prompt)
    with running(app, prefect_api, margins=Margins(board=timedelta(seconds=1))) as it:
        run = it.prefect.ended(task.id)
        assert run["state_type"] == "FAILED"
        polls = it.prefect.polls_ended()
        wait_until("a poll found the board away", lambda: it.prefect.polls_ended() > polls + 1)
        assert it.place(task.id) == "In Progress"
        assert board.refused
        board.away.clear()
        it.in_queue(task.id, "Failed")
        polls = it.prefect.polls_ended()
        wait_until("another poll has ended", lambda: it.prefect.polls_ended() > polls + 1)
        assert it.comments(task.id) == [
            "Max retries (0) exhausted. Moving to dead-letter queue.\nexit code 2"
        ]
        failed = [r for r in it.prefect.runs(kind="poll") if r["state_name"] == "BoardUnavailable"]
        assert failed, "a poll says so when the board is away"
    assert len(it.prefect.runs(task.id)) == 1


@pytest.mark.nightly
def test_what_was_due_to_a_board_that_was_away_is_made_in_order(prefect_api: str) -> None:
    board = AwayBoard()
    task = board.create_task("Fast", "Fix it")

    class GoesAway(Outcome):
        attempts = 0

        async def run(self, job: AgentJob) -> AgentResult:
            self.attempts += 1
            if self.attempts == 1:
                board.away.set()
                return await super().run(job)
            return AgentResult(AgentOutcome.SUCCEEDED)

    app = AgentDispatcher(
        name=app_name("poll"), queue_backend=board, api_port=0, poll_interval=2,
        default_agent=GoesAway(AgentOutcome.FAILED), max_retries=1,
    )  # fmt: skip
    app.route("Fast", done_queue="Done", retry_delay=0)(prompt)
    with running(app, prefect_api) as it:
        wait_until("the retry's comment was refused", lambda: board.refused)
        refused = board.refused
        wait_until("and tried again", lambda: board.refused > refused)
        assert it.prefect.run(task.id)["state_type"] == "RUNNING"
        board.away.clear()
        it.in_queue(task.id, "Done")
        assert it.comments(task.id) == [
            "Retry 1/1: exit code 2. Moving back to source queue for retry."
        ]
        assert it.prefect.ended(task.id)["state_type"] == "COMPLETED"
