"""What no agent and no poll puts right by itself is told, with what mends it."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.states import (
    AwaitingConcurrencySlot,
    Cancelled,
    Completed,
    Failed,
    Pending,
    Running,
)
from rich.console import Console

from athanore import MemoryAdapter, Task
from athanore.agent_adapters.base import AgentAdapter
from athanore.api.page.snapshot import Snapshots
from athanore.errors import DispatchError
from athanore.launch.terminal.display import overview_view
from athanore.queue_adapters.document.document import Document
from athanore.runs import open_runs
from athanore.runs.kept.pulls import OpenPull
from athanore.runs.states import StateName
from athanore.services import dead_letters
from athanore.services.showing.views import Kind, NeedsPerson, Overview
from athanore.services.status import reasons
from athanore.services.status.machinery import Machinery, look_at_machinery
from athanore.services.status.needs_person import needs_person, of_matches
from tests.asking_site import Asking
from tests.rules_site import Access, Site

OURS = "athanore"


@pytest.fixture(autouse=True)
def no_events() -> Generator[None]:
    EventsWorker.set_client_override(NullEventsClient)
    yield
    EventsWorker.set_client_override(None)


def parts(
    paused: Mapping[str, tuple[str, ...]] | None = None,
    reasons: Mapping[str, str] | None = None,
    pool_is_paused: bool = False,
) -> Machinery:
    return Machinery(3, ("w",), ("1",), {}, paused or {}, reasons or {}, pool_is_paused)


async def matters(site: Site, machinery: Machinery | None = None) -> list[NeedsPerson]:
    routes = await site.app.routes.read(site.client)
    at_rest = await dead_letters.at_rest(site.client, site.app, routes)
    ready = site.board.get_ready_tasks(["Todo"])
    held = await of_matches(site.client, site.app, routes, ready)
    return await needs_person(site.app, routes, machinery or parts(), at_rest, held)


async def left_by_agent(site: Site) -> None:
    """Claimed, and Prefect has lost what it knew."""
    site.board.move_task(site.task_id, "In Progress")
    site.board.update_task(site.task_id, assignees=[OURS])


async def a_persons_card(site: Site) -> None:
    site.board.move_task(site.task_id, "In Progress")
    site.board.update_task(site.task_id, assignees=["eve"])


async def cancelled(site: Site) -> None:
    await site.put(await site.at_work(), Cancelled(message="by eve"))


async def moved_away_and_back(site: Site) -> None:
    await site.put(await site.at_work(), Cancelled(name=StateName.MOVED_AWAY))


async def superseded(site: Site) -> None:
    run = await site.dispatched()
    site.board.move_task(site.task_id, "In Progress")
    await site.put(run, Cancelled(name=StateName.NOTHING_TO_DO))


async def went_round(site: Site) -> None:
    run = await site.at_work()
    await site.put(run, Failed(name=StateName.GOES_ROUND, message="50 times (max_rounds)."))
    site.board.move_task(site.task_id, "Failed")


async def dead_letter(site: Site) -> None:
    await site.put(await site.at_work(), Failed(message="exit code 1"))
    site.board.move_task(site.task_id, "Failed")


async def succeeded(site: Site) -> None:
    await site.put(await site.at_work(), Completed())


async def at_work(site: Site) -> None:
    await site.at_work()
    site.board.update_task(site.task_id, assignees=[OURS])


async def just_claimed(site: Site) -> None:
    await site.put(await site.dispatched(), Pending(), Running())
    site.board.move_task(site.task_id, "In Progress")
    site.board.update_task(site.task_id, assignees=[OURS])


TASKS: dict[str, tuple[Callable[[Site], Awaitable[None]], Kind | None, str]] = {
    "an orphan": (left_by_agent, Kind.ORPHAN, "athanore requeue 1 --queue QUEUE"),
    "a cancelled task": (cancelled, Kind.CANCELLED, "athanore requeue 1"),
    "a task that went round": (went_round, Kind.GOES_ROUND, "athanore requeue 1"),
    "a person's card": (a_persons_card, None, ""),
    "moved away and back by a person": (moved_away_and_back, None, ""),
    "moved by a person while it waited": (superseded, None, ""),
    "a dead letter": (dead_letter, None, ""),
    "left in progress by success": (succeeded, None, ""),
    "an agent at work": (at_work, None, ""),
    "an agent that has just begun": (just_claimed, None, ""),
}


@pytest.mark.parametrize("case", TASKS)
async def test_a_task_that_waits_for_a_person_is_told(case: str) -> None:
    plant, kind, mend = TASKS[case]
    site = Site()
    await plant(site)
    found = await matters(site)
    assert [m.kind for m in found] == ([kind] if kind else [])
    assert all(m.task_id == site.task_id and m.mend.endswith(mend) for m in found)


@pytest.mark.parametrize("case", [c for c, (_, kind, _) in TASKS.items() if kind])
async def test_the_command_that_is_named_mends_it(case: str) -> None:
    site = Site()
    await TASKS[case][0](site)
    task = site.board.get_task(site.task_id)
    await dead_letters.requeue(Access(site), site.app, task, "eve", "Todo")
    assert await matters(site) == []


async def test_an_orphan_goes_back_to_the_only_route_that_it_can_be_from() -> None:
    site = Site(in_progress_queue="Elsewhere")
    site.board.move_task(site.task_id, "Elsewhere")
    site.board.update_task(site.task_id, assignees=[OURS])
    (matter,) = await matters(site)
    assert matter.mend == "athanore requeue 1"
    task = site.board.get_task(site.task_id)
    done = await dead_letters.requeue(Access(site), site.app, task, "eve")
    assert done.route == "Todo"
    assert site.place == "Todo"


async def test_an_orphan_of_one_of_several_routes_is_not_guessed() -> None:
    site = Site()
    await left_by_agent(site)
    with pytest.raises(DispatchError, match="say which queue it shall go to: 'Todo', 'Next'"):
        await dead_letters.requeue(Access(site), site.app, site.board.get_task(site.task_id), "eve")


ROUTES: dict[str, tuple[Machinery, Kind | None, str]] = {
    "half paused, polls": (parts({"Todo": ("polls",)}), Kind.HALF_PAUSED, "athanore resume Todo"),
    "half paused, agents": (parts({"Todo": ("agents",)}), Kind.HALF_PAUSED, "athanore resume Todo"),
    "by itself": (
        parts({"Todo": ("polls", "agents")}, {"Todo": "agents cannot work now"}),
        Kind.PAUSED_ITSELF,
        "athanore resume Todo",
    ),
    "the pool": (
        parts({"Todo": ("agents",), "Next": ("agents",)}, pool_is_paused=True),
        Kind.PAUSED_POOL,
        "prefect work-pool resume",
    ),
    "by a person": (parts({"Todo": ("polls", "agents")}), None, ""),
    "not at all": (parts({"Todo": ()}), None, ""),
}


@pytest.mark.parametrize("case", ROUTES)
async def test_a_route_that_waits_for_a_person_is_told(case: str) -> None:
    machinery, kind, mend = ROUTES[case]
    found = await matters(Site(), machinery)
    assert [m.kind for m in found] == ([kind] if kind else [])
    assert all(mend in m.mend for m in found)


class Broken(MemoryAdapter):
    """A board with entries that cannot be read."""

    def _read(self) -> Document:
        todo = [{"name": "no id"}, {"id": "2"}, "text", {"id": "3", "name": "a"}]
        return Document.parse({"queues": {"Todo": [*todo, {"id": "3", "name": "b"}]}})


def test_a_board_says_which_entries_it_cannot_read() -> None:
    assert [p.partition(" in the queue")[0] for p in Broken(["Todo"]).problems()] == [
        "the task called 'no id' has no id",
        "the task '2' has no name",
        "'text' is not an object",
        "the id '3' is used again after the task in 'Todo'",
    ]


async def test_entries_that_cannot_be_read_wait_for_a_person() -> None:
    site = Site()
    site.app.board.adapter = Broken(["Todo"])
    found = await matters(site)
    assert {m.kind for m in found} == {Kind.BROKEN_ENTRY}
    assert found[0].says.startswith("The task called 'no id' has no id in the queue 'Todo'")


def test_status_shows_what_mends_each_and_no_more_than_fit() -> None:
    found = tuple(
        NeedsPerson(Kind.ORPHAN, f"Task {n} is an orphan.", f"athanore requeue {n}", str(n))
        for n in range(12)
    )
    seen = Overview("app", "http://ui", (), 3, 0, ("w",), (), (), (), found, None)
    screen = Console(file=io.StringIO(), width=100)
    screen.print(overview_view(seen))
    assert isinstance(screen.file, io.StringIO)
    shown = screen.file.getvalue()
    assert "12 things need a person:" in shown
    assert "Task 0 is an orphan." in shown
    assert "athanore requeue 9" in shown
    assert "and 2 more; `athanore status --json` has all" in shown


async def on_the_page(site: Site, machinery: Machinery) -> list[NeedsPerson]:
    """What the board page lists."""
    routes = await site.app.routes.read(site.client)

    async def read(tasks: list[Task]) -> reasons.Known:
        open_ones = await open_runs.of_tasks(site.client, site.app.name, [t.id for t in tasks])
        return reasons.Known(site.app, routes, open_ones, machinery)

    def last_lines(_: object) -> dict[str, str]:
        return {}

    seen: Any = SimpleNamespace(read=read)
    lines: Any = SimpleNamespace(of=last_lines)
    link: Any = Access(site)
    board = json.loads((await Snapshots(site.app, link, seen, lines).get()).body)
    return [NeedsPerson(**m | {"kind": Kind(m["kind"])}) for m in board["needs_person"]]


async def test_the_page_lists_what_status_lists() -> None:
    site = Site(match=by_size)  # it fails on the task
    orphan = site.board.create_task("In Progress", "Left by its agent")
    site.board.update_task(orphan.id, assignees=[OURS])
    pull = OpenPull(site.app.name, "Todo", "7", 7, "https://f.test/7", "c0ffee", is_given_up=True)
    machinery = replace(parts({"Next": ("polls",)}), given_up=(pull,))
    told = await matters(site, machinery)
    kinds = [Kind.HELD, Kind.ORPHAN, Kind.MAX_REACTIONS, Kind.HALF_PAUSED]
    assert [m.kind for m in told] == kinds
    assert await on_the_page(site, machinery) == told


async def test_questions_are_first_so_that_the_page_has_them_however_many_tasks_there_are() -> None:
    site = await Asking.made("agent works")
    for n in range(120):
        task = site.board.create_task("In Progress", f"Orphan {n}")
        site.board.update_task(task.id, assignees=[OURS])
    machinery = replace(parts(), asked=(site.question,))
    shown = await on_the_page(site, machinery)
    assert [m.kind for m in shown] == [Kind.QUESTION, *[Kind.ORPHAN] * 99]
    assert (await matters(site, machinery))[:100] == shown


def no_agent(task: Task) -> AgentAdapter:
    raise KeyError(task.id)


@pytest.mark.parametrize(("option", "listed"), [("agent", True), ("match", True), ("", False)])
async def test_a_task_that_waits_for_a_function_to_be_mended_is_told(
    option: str, listed: bool
) -> None:
    site = Site(agent=no_agent)
    log = site.log(await site.put(await site.dispatched(), Pending(), Running()))
    await log.open("w", "token")
    await log.give_back(held=option)
    state = AwaitingConcurrencySlot(scheduled_time=site.app.clock.now())
    state.message = "Task '1' is held: route 'Todo' has no agent for it (KeyError: 'size')."
    run = await site.put(log.run, state)
    routes = await site.app.routes.read(site.client)
    told = await matters(site, await look_at_machinery(site.client, site.app, routes))
    assert [m.kind for m in told if m.task_id == site.task_id] == [Kind.HELD] * listed
    if listed:
        assert told[0].says == state.message and f"function of {option}=" in told[0].mend
    log = site.log(await site.put(run, Pending(), Running()))
    await log.open("w", "token")
    assert not log.record.held, "the next start tries anew"


def by_size(task: Task) -> bool:
    return {"small": True, "big": False}[task.name]


async def test_a_task_without_a_run_on_which_match_fails_is_told() -> None:
    site = Site(match=by_size)
    for name in ("small", "big"):
        site.board.create_task("Todo", name)
    (told,) = await matters(site)
    assert (told.kind, told.task_id) == (Kind.HELD, site.task_id)
    assert "match= of route 'Todo' fails on it (KeyError: " in told.says
    assert "function of match=" in told.mend
    await site.dispatched()  # by hand: it has its run, whatever `match` says
    assert await matters(site) == []
