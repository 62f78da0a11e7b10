"""Scheduled work: what a schedule may be, which slot a run is for, and that its task is one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, override
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Scheduled

from athanore import AgentDispatcher, ConfigurationError, MemoryAdapter, Task, TaskDraft, names
from athanore.errors import AnswerLostError, BoardUnavailableError, QueueNotFoundError
from athanore.queue_adapters.base import QueueAdapter
from athanore.routing.schedules import Schedule
from athanore.runs.port import NewRun
from athanore.runtime.apps import App
from athanore.services import scheduling
from tests.harness import app_name, prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory, no_events

__all__ = ["no_events"]

MONDAY = datetime(2026, 11, 30, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"cron": "0 6 * *"}, "five fields"),
        ({"cron": "@daily"}, "five fields"),
        ({"cron": "0 0 6 * * 1"}, "five fields"),
        ({"cron": "61 6 * * 1"}, "the minute is none of cron's"),
        ({"cron": "0 6 * * 8"}, "the day of the week is none of cron's"),
        ({"time_zone": "Berlin"}, "time_zone='Berlin'"),
        ({"queue": " "}, "queue=' '"),
        ({"name": ""}, "name=''"),
        ({"labels": "chore"}, "labels='chore'"),
        ({"name": "Todo"}, "called so already"),
    ],
)
def test_a_wrong_schedule_is_refused_where_it_is_written(given: dict[str, Any], says: str) -> None:
    dispatcher = AgentDispatcher("true", name=app_name("every"))
    dispatcher.route("Todo")(prompt)
    options = {"cron": "0 6 * * 1", "queue": "Todo", "name": "Update"} | given
    with pytest.raises(ConfigurationError, match=says):
        dispatcher.every(options.pop("cron"), **options)


def test_a_function_that_asks_for_more_than_the_slot_is_refused() -> None:
    dispatcher = AgentDispatcher("true", name=app_name("every"))
    with pytest.raises(ConfigurationError, match="asks for task"):

        @dispatcher.every("0 6 * * 1", queue="Todo", name="Update")
        def update(task: str) -> str:  # pyright: ignore[reportUnusedFunction]
            return task


async def test_what_is_in_a_task() -> None:
    dispatcher = AgentDispatcher("true", name=app_name("every"))
    dispatcher.every("0 6 * * 1", queue="Todo", name="Plain", description="All of them.")

    @dispatcher.every("0 6 * * 1", queue="Todo", name="Text", time_zone="Europe/Berlin")
    async def text(slot: datetime) -> str:
        return f"For {slot:%H:%M}."

    @dispatcher.every("0 6 * * 1", queue="Todo", name="Draft")
    def draft() -> TaskDraft:
        return TaskDraft("Title", "Body", ("chore",))

    @dispatcher.every("0 6 * * 1", queue="Todo", name="Nothing")
    def nothing() -> None:
        return None

    said = {n: await s.draft(MONDAY) for n, s in dispatcher.schedules.items()}
    assert said == {
        "Plain": TaskDraft("Plain", "All of them."),
        "Text": TaskDraft("Text", "For 06:00."),
        "Draft": TaskDraft("Title", "Body", ("chore",)),
        "Nothing": None,
    }
    assert draft().name == "Title"
    assert nothing() is None
    assert await text(MONDAY) == "For 05:00."


def _run(due: datetime, *, by_clock: bool = True) -> FlowRun:
    said = {"flow_id": UUID(int=1), "auto_scheduled": by_clock, "expected_start_time": due}
    return FlowRun.model_validate(said | {"state": Scheduled(scheduled_time=due)})


@pytest.mark.parametrize(
    ("due", "now", "slot"),
    [
        (MONDAY, MONDAY, MONDAY),
        (MONDAY, MONDAY - timedelta(seconds=1), MONDAY),  # clocks differ a little
        (MONDAY, MONDAY + timedelta(hours=30), MONDAY),
        (MONDAY - timedelta(weeks=3), MONDAY + timedelta(days=2), MONDAY),  # three were missed
        (MONDAY, MONDAY + timedelta(seconds=50), MONDAY),
        (MONDAY + timedelta(minutes=10), MONDAY + timedelta(minutes=11), MONDAY),  # a retry
    ],
)
def test_of_missed_slots_the_last_one_is_made_good(
    due: datetime, now: datetime, slot: datetime
) -> None:
    weekly = Schedule("Update", "0 6 * * 1", "Todo", "Europe/Berlin")
    assert scheduling.slot_of(weekly, _run(due), now) == (slot, "2026-11-30T05:00+00:00")


def test_a_run_that_a_person_starts_is_a_slot_of_its_own() -> None:
    weekly = Schedule("Update", "0 6 * * 1", "Todo")
    run = _run(MONDAY, by_clock=False)
    assert scheduling.slot_of(weekly, run, MONDAY)[1] == str(run.id)


class Site:
    """An app with a schedule, a board and a Prefect in memory."""

    def __init__(self, board: QueueAdapter | None = None) -> None:
        self.board = board or MemoryAdapter(["Todo", "In Progress", "Done"])
        dispatcher = AgentDispatcher("true", name=app_name("every"), queue_backend=self.board)
        dispatcher.route("Todo")(prompt)
        dispatcher.every("0 6 * * 1", queue="Todo", name="Update", description="All.")
        self.app = App("run.py:dispatcher", dispatcher)
        self.store = MemoryRunStore()
        deploy_in_memory(self.store, self.app.name, "Todo")
        self.deployment = self.store.deploy("create-task/Update", {}, [])
        (self.schedule,) = dispatcher.schedules.values()

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[MemoryRunStore]:
        yield self.store

    async def run(self) -> UUID:
        return (
            await self.store.create(
                self.deployment.id, NewRun(name="update", due=MONDAY, parameters={})
            )
        ).id

    async def create(self, run: UUID, key: str = "monday") -> scheduling.Created:
        return await scheduling.create(self, self.app, self.schedule, run, MONDAY, key)

    def tasks(self) -> list[Task]:
        return self.board.get_ready_tasks(["Todo", "In Progress", "Done"])


async def test_a_slot_makes_one_task_that_is_dispatched_at_once() -> None:
    site = Site()
    first, second = await site.run(), await site.run()
    made = await site.create(first)
    assert made.task is not None
    assert made.task.name == "Update"
    assert made.task.description.startswith("All.\n\nCreated by the schedule 'Update' for 2026-11-")
    assert (await site.create(first)).task is None
    assert (await site.create(second)).task is None
    assert len(site.tasks()) == 1
    assert any(f"task:{made.task.id}" in run.tags for run in site.store.runs.values())
    assert (await site.create(second, "tuesday")).task is not None
    assert len(site.tasks()) == 2
    slots = [k.value["slot"] for k in site.store.kept.values() if "slot" in k.value]
    assert slots == ["tuesday"], "the notes of earlier slots are dropped"


class Trouble(MemoryAdapter):
    """A board whose next creation ends in an error, before or after it was done."""

    error: Exception | None = None
    done = False

    @override
    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        error, self.error = self.error, None
        if error is None:
            return super().create_task(queue_name, name, description)
        if self.done:
            super().create_task(queue_name, name, description)
        raise error


class TrackerBoard:
    """A board that lists its open tasks only."""

    def __init__(self, inner: Trouble) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in ("export_board", "import_board"):
            raise AttributeError(name)
        return getattr(self._inner, name)


def _trouble() -> Trouble:
    return Trouble(["Todo", "In Progress", "Done"])


@pytest.mark.parametrize(
    ("error", "done", "lists_all", "tasks"),
    [
        (BoardUnavailableError("away"), False, True, 1),
        (BoardUnavailableError("away"), False, False, 1),
        (QueueNotFoundError("Todo"), False, False, 1),
        (AnswerLostError("lost"), True, True, 1),
        (AnswerLostError("lost"), True, False, 1),
        (AnswerLostError("lost"), False, True, 1),
        (AnswerLostError("lost"), False, False, 0),  # at most once
    ],
)
async def test_a_retry_never_makes_a_second_task(
    error: Exception, done: bool, lists_all: bool, tasks: int
) -> None:
    board = _trouble()
    site = Site(board if lists_all else TrackerBoard(board))  # pyright: ignore[reportArgumentType]
    board.error, board.done = error, done
    run = await site.run()
    with pytest.raises(type(error)):
        await site.create(run)
    assert (await site.create(run)).in_doubt == (tasks == 0)
    assert len(site.tasks()) == tasks
    await site.create(run)
    assert len(site.tasks()) == tasks


@pytest.mark.parametrize("ended", [False, True])
async def test_a_slot_of_another_run_is_taken_over_when_that_has_ended(ended: bool) -> None:
    board = _trouble()
    site = Site(board)
    board.error = AnswerLostError("lost")
    first, second = await site.run(), await site.run()
    with pytest.raises(AnswerLostError):
        await site.create(first)
    if ended:
        await site.store.impose(first, Completed())
    made = await site.create(second)
    assert (made.task is not None) is ended
    assert len(site.tasks()) == ended


class Tracker(Trouble):
    """A board that puts new tasks into Backlog first, and remembers one that it could not place."""

    def __init__(self) -> None:
        super().__init__(["Backlog", "Todo", "In Progress", "Done"])
        self.calls = 0
        self.refuses_labels: Exception | None = None

    @override
    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        self.calls += 1
        return super().create_task(
            "Backlog" if self.error is not None else queue_name, name, description
        )

    @override
    def update_task(self, task_id: str, **fields: Any) -> Task:
        refuses, self.refuses_labels = self.refuses_labels, None
        if refuses is not None:
            raise refuses
        return super().update_task(task_id, **fields)


def _labelled(board: Tracker) -> Site:
    site = Site(TrackerBoard(board))  # pyright: ignore[reportArgumentType]
    site.schedule = replace(site.schedule, labels=("chore",))
    return site


@pytest.mark.parametrize("error", [BoardUnavailableError("away"), AnswerLostError("lost")])
async def test_a_board_that_is_away_when_the_labels_are_set_gets_no_second_task(
    error: Exception,
) -> None:
    board = Tracker()
    site = _labelled(board)
    board.refuses_labels = error
    run = await site.run()
    with pytest.raises(type(error)):
        await site.create(run)
    board.move_task(site.tasks()[0].id, "Done")
    assert (await site.create(run)).task is not None
    (task,) = site.tasks()
    assert (task.labels, task.queue_name, board.calls) == (("chore",), "Done", 1)


@pytest.mark.parametrize("had_an_agent", [False, True])
async def test_a_task_that_was_created_and_not_placed_is_moved_and_labelled(
    had_an_agent: bool,
) -> None:
    board = Tracker()
    site = _labelled(board)
    board.error, board.done = AnswerLostError("lost"), True
    run = await site.run()
    with pytest.raises(AnswerLostError):
        await site.create(run)
    (there,) = board.get_ready_tasks(["Backlog"])
    if had_an_agent:
        tags = [names.app_tag(site.app.name), names.task_tag(there.id)]
        await site.store.create(
            site.deployment.id, NewRun(name="agent", due=MONDAY, parameters={}, tags=tags)
        )
    made = await site.create(run)
    assert made.task is not None
    task = board.get_task(there.id)
    expected = "Backlog" if had_an_agent else "Todo"
    assert (made.task.id, task.labels, task.queue_name) == (there.id, ("chore",), expected)
    assert board.calls == 1


async def test_a_board_that_looks_for_a_task_first_is_asked_for_it_again_with_the_same_words() -> (
    None
):
    board = Tracker()
    site = Site(TrackerBoard(board))  # pyright: ignore[reportArgumentType]
    texts = iter(["first", "second"])
    site.schedule = replace(site.schedule, function=lambda: next(texts))
    board.error, board.done = AnswerLostError("lost", may_repeat=True), False
    run = await site.run()
    with pytest.raises(AnswerLostError):
        await site.create(run)
    board.error = BoardUnavailableError("away")
    with pytest.raises(BoardUnavailableError):
        await site.create(run)
    assert (await site.create(run)).task is not None
    (task,) = site.tasks()
    assert task.description.startswith("first")
    assert board.calls == 3
    assert site.app.noted.drafts == {}
