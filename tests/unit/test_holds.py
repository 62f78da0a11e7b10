"""What keeps a task from being dispatched: the tasks that block it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from athanore import AgentDispatcher, MemoryAdapter, Task, names
from athanore.errors import BoardError
from athanore.routing.route_rules import wrong_queues
from athanore.runtime.apps import App
from athanore.runtime.routes.route_registry import KnownRoute, Routes
from athanore.services import runs
from athanore.services.holds import Hold, Holds, blockers_of
from athanore.services.status.explaining import explain
from tests.harness import app_name, prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory, no_events

__all__ = ["no_events"]


@pytest.mark.parametrize(
    ("description", "ids"),
    [
        ("Blocked by: #12", ["12"]),
        ("Text.\n\n  - blocked by 12, #13 and LIN-7.\nMore.", ["12", "13", "LIN-7"]),
        ("Blocked by: #12 (the parser), see there #14", ["12"]),
        ("Blocked by: #12\nBlocked by: #13, #12", ["12", "13"]),
        ("It was blocked by: #12", []),
        ("Blocked by the parser #12", []),
        ("Blocked by:", []),
        ("Blocked by: " + "1" * 100_000 + "!", []),
        ("- " + "blocked by: " * 20_000 + "\n" + " \t" * 50_000 + "blocked by", []),
    ],
)
def test_what_a_description_says(description: str, ids: list[str]) -> None:
    assert blockers_of(Task("1", "Task", "Todo", description)) == ids


def test_the_boards_own_relations_come_first_and_a_task_never_blocks_itself() -> None:
    task = Task("1", "Task", "Todo", "Blocked by: #3, #1, #2", blocked_by=("2", "1"))
    assert blockers_of(task) == ["2", "3"]


class Board(MemoryAdapter):
    """A board of which one task cannot be read."""

    def get_task(self, task_id: str) -> Task:
        if task_id == "99":
            raise BoardError("The board answered 500.")
        return super().get_task(task_id)


class Site:
    """An app whose route respects blockers, and a board with some tasks."""

    def __init__(self, places: Mapping[str, tuple[str, str]], **options: Any) -> None:
        self.board = Board(["Todo", "In Progress", "Done", "Failed", "Ideas"])
        dispatcher = AgentDispatcher("true", name=app_name("hold"), queue_backend=self.board)
        options = {"respect_blockers": True, "dead_letter_queue": "Failed"} | options
        dispatcher.route("Todo", **options)(prompt)
        self.route = dispatcher.routes["Todo"]
        self.app = App("run.py:dispatcher", dispatcher)
        self.routes: Routes = {n: KnownRoute(r) for n, r in dispatcher.routes.items()}
        self.holds = Holds(self.app, self.routes)
        for name, (queue, description) in places.items():
            assert self.board.create_task(queue, name, description).id == name

    async def hold(self, task_id: str) -> Hold | None:
        return await self.holds.of(self.route, self.board.get_task(task_id))


@pytest.mark.parametrize(
    ("queue", "held"),
    [("Todo", True), ("In Progress", True), ("Failed", True), ("Done", False), ("Ideas", False)],
)
async def test_a_blocker_holds_until_it_has_ended(queue: str, held: bool) -> None:
    site = Site({"1": (queue, ""), "2": ("Todo", "Blocked by: #1")})
    hold = await site.hold("2")
    assert (hold is not None) == held
    if hold is not None:
        assert hold == Hold(f"It is blocked by task 1 ('1', in '{queue}').", ("1",))


@pytest.mark.parametrize(("queue", "held"), [("Done", True), ("Todo", True), ("Ideas", False)])
async def test_a_route_may_say_where_a_task_blocks_no_more(queue: str, held: bool) -> None:
    places = {"1": (queue, ""), "2": ("Todo", "Blocked by: #1, #77")}
    site = Site(places, unblocking_queues=["Ideas"])
    assert (await site.hold("2") is not None) == held
    assert "Ideas" in site.app.dispatcher.queue_names()


def test_a_queue_that_the_board_has_not_is_refused() -> None:
    site = Site({"1": ("Todo", "")}, unblocking_queues=["Ideals"])
    (wrong,) = wrong_queues(site.route, site.board, site.board.list_queues())
    assert wrong.says.endswith("no queue 'Ideals' (unblocking_queues). Did you mean 'Ideas'?")


async def test_it_is_off_unless_it_is_asked_for() -> None:
    site = Site({"1": ("Todo", ""), "2": ("Todo", "Blocked by: #1")}, respect_blockers=False)
    assert await site.hold("2") is None


async def test_a_blocker_that_is_gone_or_cannot_be_read_holds_nothing() -> None:
    site = Site({"1": ("Todo", "Blocked by: #98, #99")})
    assert await site.hold("1") is None
    assert site.holds.remarks == ["task '99', which blocks '1': The board answered 500."]


@pytest.mark.parametrize(
    ("places", "held"),
    [
        ({"1": ("Todo", "Blocked by: #99")}, ""),
        ({"1": ("Todo", "Blocked by: #2, #99"), "2": ("Todo", "")}, "It is blocked by task 2"),
    ],
)
async def test_a_blocker_that_cannot_be_read_is_among_the_reasons(
    places: Mapping[str, tuple[str, str]], held: str
) -> None:
    site = Site(places)
    seen = await explain(MemoryRunStore(), site.app, site.board.get_task("1"))
    assert held in seen.reason
    assert seen.reason.endswith(
        ". Task '99' is to end before it, cannot be read, and holds nothing: The board answered "
        "500."
    )


async def test_a_circle_is_named() -> None:
    site = Site(
        {
            "1": ("Todo", "Blocked by: #3"),
            "2": ("Todo", "Blocked by: #1"),
            "3": ("Todo", "Blocked by: #2"),
        }
    )
    hold = await site.hold("1")
    assert hold is not None
    assert hold.reason.endswith("They block each other: 1 -> 3 -> 2 -> 1.")


async def test_what_was_read_already_is_not_read_again() -> None:
    site = Site({"1": ("Todo", ""), "2": ("Todo", "Blocked by: #1")})
    site.holds.has_read(site.board.get_ready_tasks(["Todo"]))
    site.board.move_task("1", "Done")
    assert await site.hold("2") is not None


async def test_a_task_that_has_ended_starts_what_waited_for_it() -> None:
    site = Site({"1": ("In Progress", ""), "2": ("Todo", "Blocked by: #1"), "3": ("Todo", "")})
    both = site.board.create_task("Todo", "Task 4", "Blocked by: #1, #3").id
    prefect = MemoryRunStore()
    deploy_in_memory(prefect, site.app.name, "Todo")
    await runs.dispatch_unblocked(prefect, site.app, "1")
    assert not prefect.runs, "it has not ended"
    site.board.move_task("1", "Done")
    await runs.dispatch_unblocked(prefect, site.app, "1")
    started = {names.task_of(run.tags) for run in prefect.runs.values()}
    assert started == {"2"}, f"3 waits for nothing, and {both} for another one"
