"""The watch of the board: who changed what, and which routes are polled for it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, JsonFileAdapter, MemoryAdapter, Task, names
from athanore.errors import BoardBrokenError, BoardUnavailableError
from athanore.queue_adapters.base import QueueAdapter
from athanore.runtime.apps import App
from athanore.worker.duties.board_watch import BoardWatch
from tests.harness import prompt
from tests.memory_store import MemoryRunStore

QUEUES = ["Todo", "Next", "In Progress", "Done"]


class Board(MemoryAdapter):
    """Counts how often all its tasks are read, and may be broken."""

    def __init__(self) -> None:
        super().__init__(QUEUES)
        self.reads = 0
        self.is_broken = False

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        self.reads += 1
        if self.is_broken:
            raise BoardBrokenError("half a file")
        return super().get_ready_tasks(queue_names)


class Site:
    """An app of two routes whose board is watched."""

    def __init__(self, board: QueueAdapter, **options: Any) -> None:
        self.client = MemoryRunStore()
        self.board = board
        dispatcher = AgentDispatcher("true", queue_backend=board, name="watched")
        dispatcher.route("Todo", done_queue="Done", **options)(prompt)
        dispatcher.route("Next", done_queue="Done")(prompt)
        self.app = App("run.py:dispatcher", dispatcher)
        for route in dispatcher.routes:
            name = f"{names.POLL_FLOW}/{names.deployment_name(self.app.name, route)}"
            self.client.deploy(name, {"queue_name": route}, [names.route_tag(route)])
        self.woken = 0
        self.taken = False
        self.now = 100.0
        self.watch = self.another_watch()

    def another_watch(self) -> BoardWatch:
        return BoardWatch(self.client, self.app, self.wake, self.take, now=lambda: self.now)

    def wake(self) -> None:
        self.woken += 1

    def take(self) -> None:
        self.taken = True

    @property
    def polls(self) -> list[str]:
        """The routes of the polls that were made."""
        return [str(r.parameters["queue_name"]) for r in self.client.runs.values()]


@pytest.fixture
def board() -> Board:
    return Board()


async def test_a_card_that_a_person_adds_has_its_route_polled(board: Board) -> None:
    board.create_task("Done", "There before")
    site = Site(board)
    await site.watch.begin()
    await site.watch.look()
    assert site.polls == []
    board.create_task("Next", "New")
    await site.watch.look()
    assert site.polls == ["Next"]
    assert site.woken == 1
    (run,) = site.client.runs.values()
    assert run.name == names.CHANGE_POLL


@pytest.mark.parametrize("away", [False, True])
async def test_a_card_that_came_while_no_worker_watched_is_polled_for(
    board: Board, away: bool
) -> None:
    board.create_task("Todo", "There before")
    board.is_broken = away
    site = Site(board)
    await site.watch.begin()
    board.is_broken = False
    await site.watch.look()
    assert site.polls == ["Todo"]
    await site.another_watch().begin()
    assert site.polls == ["Todo"], "nothing has changed since, whichever worker looks"


@pytest.mark.parametrize(("workers", "least"), [(0, 1.6), (1, 1.6), (10, 16.0)])
def test_all_workers_together_look_for_a_tenth_of_the_time(workers: int, least: float) -> None:
    site = Site(Board())
    watch = BoardWatch(site.client, site.app, site.wake, site.take, sharing=lambda: workers)
    rests = [watch.rest(0.2) for _ in range(100)]
    assert least <= min(rests) < max(rests) <= least / 0.8


async def test_a_board_that_has_not_changed_is_not_read(board: Board) -> None:
    site = Site(board)
    for _ in range(5):
        await site.watch.look()
    assert board.reads == 1


async def test_two_workers_make_one_poll_of_a_change(board: Board) -> None:
    site = Site(board)
    other = site.another_watch()
    await site.watch.look()
    await other.look()
    board.create_task("Todo", "New")
    await site.watch.look()
    await other.look()
    assert site.polls == ["Todo"]


async def test_a_view_that_comes_again_is_polled_again_at_most_once_a_second(
    board: Board,
) -> None:
    site = Site(board)
    await site.watch.look()
    task = board.create_task("Todo", "To and fro")
    await site.watch.look()
    board.move_task(task.id, "Done")
    await site.watch.look()
    board.move_task(task.id, "Todo")
    await site.watch.look()
    assert site.polls == ["Todo"]
    site.now += 1.0
    await site.watch.look()
    assert site.polls == ["Todo", "Todo"]
    site.now += 1.0
    await site.watch.look()
    assert site.polls == ["Todo", "Todo"]


async def test_what_this_process_has_written_is_not_polled_for(board: Board) -> None:
    site = Site(board)
    own = site.app.board
    await site.watch.look()
    task = await own.create("Todo", "Through the API")
    await site.watch.look()
    await own.claim(task.id, "Todo", "In Progress")
    await site.watch.look()
    await own.move(task.id, "Todo")  # its retry
    await site.watch.look()
    await own.claim(task.id, "Todo", "In Progress")
    await site.watch.look()
    await own.move(task.id, "Next")
    await site.watch.look()
    assert site.polls == []


async def test_a_move_that_nobody_follows_is_polled_for(board: Board) -> None:
    site = Site(board)
    task = await site.app.board.create("Done", "A dead letter, say")
    await site.watch.look()
    await site.app.board.move(task.id, "Next", followed=False)
    await site.watch.look()
    assert site.polls == ["Next"]


async def test_a_person_who_undoes_our_move_is_heard(board: Board) -> None:
    site = Site(board)
    await site.watch.look()
    task = await site.app.board.create("Todo", "Ours")
    await site.watch.look()
    await site.app.board.move(task.id, "Next")
    await site.watch.look()
    board.move_task(task.id, "Done")
    await site.watch.look()
    assert site.polls == ["Next"], "its waiting run is to be cancelled"
    board.move_task(task.id, "Todo")
    await site.watch.look()
    assert site.polls == ["Next", "Todo"]


async def test_a_claim_of_another_worker_is_no_reason_to_poll(board: Board) -> None:
    task = board.create_task("Todo", "Theirs")
    site = Site(board)
    await site.watch.look()
    assert site.polls == ["Todo"]
    board.move_task(task.id, "In Progress")
    await site.watch.look()
    assert site.polls == ["Todo"]


async def test_a_task_that_a_person_takes_from_an_agent_is_seen(board: Board) -> None:
    site = Site(board)
    task = await site.app.board.create("Todo", "At work")
    await site.app.board.claim(task.id, "Todo", "In Progress")
    await site.watch.look()
    assert not site.taken
    board.move_task(task.id, "Done")
    await site.watch.look()
    assert site.taken
    assert site.polls == []


async def test_a_task_that_its_run_moves_on_is_not_taken(board: Board) -> None:
    site = Site(board)
    task = await site.app.board.create("In Progress", "At work")
    await site.watch.look()
    await site.app.board.move(task.id, "Done")
    await site.watch.look()
    assert not site.taken


async def test_a_label_that_makes_a_task_the_routes_has_it_polled(board: Board) -> None:
    site = Site(board, labels=["agent"])
    task = board.create_task("Todo", "Not yet")
    await site.watch.look()
    board.update_task(task.id, name="Still not")
    await site.watch.look()
    assert site.polls == []
    board.update_task(task.id, labels=["agent"])
    await site.watch.look()
    assert site.polls == ["Todo"]


async def test_a_board_that_is_broken_for_a_moment_is_seen_when_it_is_mended(board: Board) -> None:
    site = Site(board)
    await site.watch.begin()
    board.is_broken = True
    board.create_task("Todo", "New")
    with pytest.raises(BoardBrokenError):
        await site.watch.look()
    board.is_broken = False
    await site.watch.look()
    assert site.polls == ["Todo"]


async def test_a_queue_that_is_gone_keeps_no_other_route_from_being_polled() -> None:
    board = MemoryAdapter([name for name in QUEUES if name != "Next"])
    site = Site(board)
    await site.watch.begin()
    board.create_task("Todo", "New")
    await site.watch.look()
    assert site.polls == ["Todo"]


async def test_a_card_that_could_not_be_read_for_a_moment_is_seen_when_it_can(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_approved(task: Task) -> bool:
        return not task.comments

    site = Site(board, match=is_approved, needs=["comments"])
    await site.watch.begin()
    read, faults = board.get_task, [BoardUnavailableError("status 500")]

    def get_task(task_id: str) -> Task:
        if faults:
            raise faults.pop()
        return read(task_id)

    monkeypatch.setattr(board, "get_task", get_task)
    board.create_task("Todo", "New")
    await site.watch.look()
    assert site.polls == []
    await site.watch.look()
    assert site.polls == ["Todo"]


async def test_a_paused_route_is_left_alone(board: Board) -> None:
    site = Site(board)
    await site.watch.look()
    for deployment in site.client.deployed.values():
        deployment.paused = True
    board.create_task("Todo", "New")
    await site.watch.look()
    assert site.polls == []
    assert site.woken == 0


async def test_a_board_without_a_stamp_is_not_watched() -> None:
    class NoStamp:
        def __getattr__(self, name: str) -> Any:
            if name == "change_stamp":
                raise AttributeError(name)
            return getattr(MemoryAdapter(QUEUES), name)

    site = Site(NoStamp())  # pyright: ignore[reportArgumentType]
    await site.watch.begin()
    await site.watch.watch()  # returns


async def test_a_file_edited_by_hand_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    queues: dict[str, list[dict[str, str]]] = {name: [] for name in QUEUES}
    file.write_text(json.dumps({"queues": queues}))
    adapter = JsonFileAdapter(file)
    site = Site(adapter)
    await site.watch.begin()
    queues["Todo"].append({"id": "1", "name": "Mine"})
    file.write_text(json.dumps({"queues": queues}))
    stamp: Hashable | None = None
    while stamp is None:  # an edit that is a few milliseconds old may still hide another one
        stamp = adapter.change_stamp()
    await site.watch.look()
    assert site.polls == ["Todo"]
