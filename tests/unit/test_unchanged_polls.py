"""A scheduled poll that would find nothing again is noted as unchanged; all else makes it whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending

from athanore import AgentDispatcher, JsonFileAdapter, Task, names
from athanore.errors import BoardUnavailableError
from athanore.runs.capacity.pausing import RESUME
from athanore.runs.port import NewRun
from athanore.runs.states import StateName
from athanore.runtime.apps import App
from athanore.runtime.boards.whole_polls import LONGEST, WholePolls
from athanore.worker.poll_runs.due_polls import DuePolls
from athanore.worker.poll_runs.polls import clear_polls
from athanore.worker.poll_runs.unchanged import UnchangedPolls
from tests.harness import prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory
from tests.support import wait_until

QUEUES = ["Todo", "Review", "In Progress", "Done"]


class Board(JsonFileAdapter):
    """A JSON board that may be away, and that may have somebody beside us."""

    away = False
    other: tuple[str, ...] = ()

    def change_stamp(self) -> Any:
        if self.away:
            raise BoardUnavailableError("the board is away")
        return super().change_stamp()

    def watched_by(self, *args: Any, **kwargs: Any) -> Any:
        return self.other


class Site:
    """A worker of polls whose routes have just been polled, and had no work."""

    def __init__(
        self,
        folder: Path,
        prefect: MemoryRunStore | None = None,
        board: type[Board] = Board,
        **route: Any,
    ) -> None:
        if not (file := folder / "board.json").exists():
            file.write_text(json.dumps({"queues": {q: [] for q in QUEUES}}))
        self.board = board(file)
        self.dispatcher = AgentDispatcher("true", queue_backend=self.board, name="unchanged")
        self.dispatcher.route("Todo", **route)(prompt)
        self.dispatcher.route("Review")(prompt)
        self.app = App("run.py:dispatcher", self.dispatcher)
        self.app.noted.is_swept = True
        self.seconds = 1000.0
        self.app.whole_polls = WholePolls(lambda: self.seconds)
        self.client = prefect or MemoryRunStore()
        self.unchanged = UnchangedPolls(lambda: self.client, lambda: [self.app], self.now)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def settle(self) -> None:
        """Wait until the board tells its stamp: while an edit might hide behind it, it does not."""
        wait_until("the file is old enough", lambda: self.board.change_stamp() is not None)

    async def whole_poll(
        self, *queues: str, before_reading: Callable[[], object] | None = None
    ) -> None:
        """Do what a whole poll does that finds nothing, as `poll_route` does."""
        self.settle()
        for queue in queues or ("Todo", "Review"):
            self.app.whole_polls.began(queue)
            stamp = await self.app.board.change_stamp()
            if before_reading is not None:
                before_reading()
            routes = await self.app.routes.read(self.client)
            assert not self.board.get_ready_tasks([queue]) or before_reading is not None
            self.app.whole_polls.found_nothing(queue, stamp, routes)

    async def poll(self, queue: str = "Todo", due: float = 0.0, **parameters: Any) -> FlowRun:
        """A scheduled poll as Prefect offers it."""
        name = f"{names.POLL_FLOW}/{names.deployment_name(self.app.name, queue)}"
        if name not in self.client.deployed:
            tags = [names.app_tag(self.app.name), names.route_tag(queue), names.POLL_TAG]
            self.client.deploy(name, {"queue_name": queue, "app": "run.py:dispatcher"}, tags)
        at = self.now() + timedelta(seconds=due)
        new = NewRun(name="poll", due=at, parameters=parameters)
        run = await self.client.create(self.client.deployed[name].id, new)
        update = {"auto_scheduled": True, "next_scheduled_start_time": at}
        return run.model_copy(update=update)

    async def is_unchanged(self, run: FlowRun | None = None) -> bool:
        """Whether a poll that is due now is noted as unchanged."""
        run = run or await self.poll()
        done = await self.unchanged.complete([run])
        state = (await self.client.read_run(run.id)).state_name
        assert (state == StateName.UNCHANGED) == (run.id in done)
        return bool(done)


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    await site.whole_poll()
    return site


async def test_polls_of_a_board_that_has_not_changed_are_ended_together(site: Site) -> None:
    polls = [await site.poll(), await site.poll("Review", 4)]
    assert await site.unchanged.complete(polls) == {p.id for p in polls}
    states = [(await site.client.read_run(p.id)).state for p in polls]
    assert {(s.type.value, s.name) for s in states if s} == {("COMPLETED", "Unchanged")}


@pytest.mark.parametrize(
    ("name", "then"),
    [("curious-mongrel", "poll Todo"), ("poll Todo", "poll Todo"), ("My look", "My look")],
)
async def test_one_for_which_the_server_drew_a_name_is_called_by_its_route(
    site: Site, name: str, then: str
) -> None:
    poll = (await site.poll()).model_copy(update={"name": name})
    await site.client.rename(poll.id, name)
    assert await site.is_unchanged(poll)
    assert (await site.client.read_run(poll.id)).name == then


async def test_a_poll_is_whole_when_this_worker_has_not_yet_polled_the_route(site: Site) -> None:
    site.app.whole_polls = WholePolls()
    assert not await site.is_unchanged()


async def test_a_poll_is_whole_when_the_last_one_was_refused(site: Site) -> None:
    site.app.whole_polls.began("Todo")
    assert not await site.is_unchanged()
    assert await site.is_unchanged(await site.poll("Review"))


async def test_a_poll_is_whole_when_the_board_has_changed(site: Site) -> None:
    site.board.create_task("Done", "Anything")
    assert not await site.is_unchanged()
    await site.whole_poll()
    assert await site.is_unchanged()


async def test_a_poll_is_whole_when_the_board_changed_while_it_was_read(site: Site) -> None:
    await site.whole_poll("Todo", before_reading=lambda: site.board.create_task("Todo", "New"))
    assert not await site.is_unchanged()


async def test_a_poll_is_whole_when_the_board_does_not_tell(site: Site) -> None:
    site.board.away = True
    assert not await site.is_unchanged()
    site.app.whole_polls.found_nothing("Todo", None, site.app.routes.in_code())
    site.board.away = False
    assert await site.is_unchanged()


async def test_a_poll_is_whole_when_a_route_has_changed(site: Site) -> None:
    route = site.dispatcher.routes["Review"]
    site.dispatcher._routes["Review"] = replace(route, labels=("bug",))  # pyright: ignore[reportPrivateUsage]
    assert not await site.is_unchanged()


async def test_a_poll_is_whole_when_the_same_route_has_new_code(site: Site) -> None:
    def reloaded(task_id: str, task_name: str) -> str:
        return prompt(task_id, task_name)

    route = site.dispatcher.routes["Todo"]
    site.dispatcher._routes["Todo"] = replace(route, prompt=reloaded)  # pyright: ignore[reportPrivateUsage]
    assert not await site.is_unchanged()
    await site.whole_poll()
    assert await site.is_unchanged()


async def test_a_poll_is_whole_when_the_boards_stamp_costs_a_request(tmp_path: Path) -> None:
    class Tracker(Board):
        stamp_interval = timedelta(seconds=15)

    site = Site(tmp_path, board=Tracker)
    await site.whole_poll()
    run = await site.poll()
    assert not site.unchanged.may_be(run)
    assert not await site.is_unchanged(run)


async def test_a_poll_is_whole_when_it_is_to_resume_its_route(site: Site) -> None:
    assert not await site.is_unchanged(await site.poll("Todo", 0, **{RESUME: True}))


async def test_a_poll_is_whole_when_somebody_asked_for_it(site: Site) -> None:
    asked = (await site.poll()).model_copy(update={"auto_scheduled": False})
    assert not await site.is_unchanged(asked)


async def test_a_poll_is_whole_when_the_last_whole_one_is_long_ago(site: Site) -> None:
    site.seconds += LONGEST - 1
    assert await site.is_unchanged()
    site.seconds += 1
    assert not await site.is_unchanged()


async def test_a_poll_is_whole_when_it_is_late_or_not_soon_due(site: Site) -> None:
    for due in (-11, 6):
        assert not await site.is_unchanged(await site.poll(due=due))
    for due in (-9, 4):
        assert await site.is_unchanged(await site.poll(due=due))


async def test_a_poll_is_whole_when_polls_look_after_runs(site: Site) -> None:
    site.app.noted.is_swept = False
    assert not await site.is_unchanged()


async def test_a_poll_is_whole_when_a_function_says_whose_tasks_are(tmp_path: Path) -> None:
    def mine(task: Task) -> bool:
        return bool(task.name)

    site = Site(tmp_path, match=mine)
    await site.whole_poll()
    assert not await site.is_unchanged()
    assert await site.is_unchanged(await site.poll("Review"))


async def test_a_poll_is_whole_when_somebody_else_watches_its_queue(site: Site) -> None:
    site.board.other = ("the app 'other'",)
    assert not await site.is_unchanged()
    # The whole poll that follows is told, too, and says so.
    assert "Todo" not in site.app.noted.looked_for_rivals


async def test_a_poll_that_another_worker_has_taken_is_left_to_it(site: Site) -> None:
    run = await site.poll()
    await site.client.impose(run.id, Pending())
    assert not await site.is_unchanged(run)
    assert (await site.client.read_run(run.id)).state_name == "Pending"


async def test_a_worker_that_was_away_looks_at_the_board_itself(tmp_path: Path) -> None:
    prefect = MemoryRunStore()
    one, other = Site(tmp_path, prefect), Site(tmp_path, prefect)
    await one.whole_poll()
    await other.whole_poll()
    # While the other one was away, a task has come, was worked on and went.
    task = one.board.create_task("Todo", "New")
    one.board.move_task(task.id, "Done")
    await one.whole_poll()
    one.settle()
    assert await one.is_unchanged()
    assert not await other.is_unchanged()
    assert await one.is_unchanged()


async def test_polls_that_are_not_ended_are_given_on_when_they_are_due(site: Site) -> None:
    given: list[FlowRun] = []
    was_given = asyncio.Event()

    def give(runs: list[FlowRun]) -> None:
        given.extend(runs)
        was_given.set()

    due = DuePolls(site.unchanged, give, site.now)
    site.app.whole_polls.began("Review")
    plain, whole = await site.poll(due=1.5), await site.poll("Review", 3)
    late = await site.poll(due=-60)
    due.wait_for([plain, whole, late])
    assert given == [late]
    assert plain.id in due and whole.id in due and late.id not in due

    was_given.clear()
    await was_given.wait()
    assert given == [late, whole]
    assert (await site.client.read_run(plain.id)).state_name == StateName.UNCHANGED
    assert plain.id not in due
    site.board.create_task("Done", "Anything")
    both = [await site.poll(due=1.5), await site.poll("Review", 30)]
    due.wait_for(both)

    was_given.clear()
    await was_given.wait()
    assert given[2:] == both[:1]
    due.stop()
    await asyncio.sleep(0)
    assert both[1].id not in due


async def test_a_poll_that_somebody_has_started_is_ended_and_can_be_looked_at() -> None:
    client = MemoryRunStore()
    deploy_in_memory(client, "joined", "Todo")
    poll = await client.deployment(f"{names.POLL_FLOW}/{names.deployment_name('joined', 'Todo')}")
    by_hand, scheduled = [
        await client.create(poll.id, NewRun(name=name, due=datetime.now(UTC), parameters={}))
        for name in ("by-hand", "scheduled")
    ]
    scheduled.auto_scheduled = True
    await clear_polls(client, [by_hand, scheduled])
    (left,) = client.runs.values()
    assert (left.name, left.state_name) == ("by-hand", StateName.JOINED)
