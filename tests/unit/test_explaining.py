"""Why a task is where it is, in the cases that need no server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import (
    DeploymentSchedule,
    FlowRun,
    State,
    Worker,
    WorkerStatus,
    WorkPool,
)
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

from athanore import AgentDispatcher, MemoryAdapter, Task, names
from athanore.runs.capacity import fleet
from athanore.runs.capacity.fleet import WorkerEntry
from athanore.runtime.apps import App
from athanore.services.holds import Holds
from athanore.services.status import reasons
from athanore.services.status.explaining import explain
from athanore.services.status.reasons import Explanation
from tests.harness import app_name, prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory

QUEUES = ["Todo", "In Progress", "Done", "Failed"]


class Site:
    """An app with a board of one task, which the routes take or not."""

    def __init__(self, **options: Any) -> None:
        self.client = MemoryRunStore()
        self.board = MemoryAdapter(QUEUES)
        self.dispatcher = AgentDispatcher("true", name=app_name("why"), queue_backend=self.board)
        options = {"dead_letter_queue": "Failed", "max_retries": 2} | options
        self.dispatcher.route("Todo", name="todo", **options)(prompt)
        self.app = App("run.py:dispatcher", self.dispatcher)
        name = f"{names.AGENT_FLOW}/{names.deployment_name(self.app.name, 'todo')}"
        tags = [names.app_tag(self.app.name), names.route_tag("todo"), names.AGENT_TAG]
        parameters = {"queue_name": "Todo", "route_name": "todo", "app": "run.py:dispatcher"}
        self.client.deploy(name, parameters, tags)
        self.task = self.board.create_task("Todo", "Fix it")

    async def run(self, state: State[Any]) -> FlowRun:
        route = self.dispatcher.routes["todo"]
        run = await self.app.dispatching.dispatch(self.client, route, self.task)
        await self.client.impose(run.id, state)
        return run

    async def why(self, queue: str = "Todo") -> Explanation:
        self.board.move_task(self.task.id, queue)
        return await explain(self.client, self.app, self.board.get_task(self.task.id))


def raises(_: Task) -> bool:
    raise KeyError("size")


def refuses(_: Task) -> bool:
    return False


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"labels": ["bug", "ui"]}, "'todo' wants label 'bug', 'ui'."),
        ({"assignees": ["eve", "bob"]}, "'todo' wants it assigned to 'eve' or 'bob'."),
        ({"match": refuses}, "'todo' says no by its match=."),
        ({"match": raises}, "match= of route 'todo' fails on it (KeyError: 'size')."),
    ],
)
async def test_a_task_that_no_route_takes(options: dict[str, Any], reason: str) -> None:
    seen = await Site(**options).why()
    assert seen.route is None
    assert seen.reason.endswith(reason)


@pytest.mark.parametrize(
    ("state", "reason", "command"),
    [
        (Running(), "An agent works on it: attempt 1 of 3.", "athanore cancel"),
        (Pending(), "A worker is about to start its agent.", "athanore cancel"),
        (Cancelling(message="by eve"), "the run was cancelled (by eve).", ""),
        (Suspended(), "goes on when it is resumed there.", "athanore cancel"),
    ],
)
async def test_a_task_that_has_a_run(state: State[Any], reason: str, command: str) -> None:
    site = Site()
    await site.run(state)
    seen = await site.why()
    assert seen.route == "todo"
    assert seen.reason.endswith(reason)
    assert any(c.startswith(command) for c in seen.commands) or not command


@pytest.mark.parametrize(
    ("missing", "reason", "command"),
    [
        ("", "The next poll of route 'todo' finds it.", "athanore dispatch"),
        ("worker", "Route 'todo' takes it, but no worker of the app is online.", "athanore up"),
        ("deployment", "Route 'todo' takes it, but is not deployed.", "athanore up"),
        ("pool", "is paused in Prefect: no agent starts.", "prefect work-pool resume"),
    ],
)
async def test_a_task_without_a_run_is_found_by_the_next_poll(
    missing: str, reason: str, command: str
) -> None:
    site = Site()
    pool = names.agents_pool(site.app.name)
    site.client.pools[pool] = WorkPool(
        name=pool, type="athanore", default_queue_id=uuid4(), is_paused=missing == "pool"
    )
    if missing != "worker":
        heard = datetime.now(UTC)
        alive = Worker(
            name="w",
            work_pool_id=uuid4(),
            last_heartbeat_time=heard,
            status=WorkerStatus.ONLINE,
        )
        site.client.workers_of[pool] = [alive]
    if missing != "deployment":
        deploy_in_memory(site.client, site.app.name, "todo", "Todo")
        poll = site.client.deployed[
            f"{names.POLL_FLOW}/{names.deployment_name(site.app.name, 'todo')}"
        ]
        each = IntervalSchedule(interval=timedelta(minutes=5))
        poll.schedules = [DeploymentSchedule(deployment_id=poll.id, schedule=each, active=True)]
    seen = await site.why()
    assert seen.route == "todo" and seen.reason.endswith(reason)
    if not missing:
        assert seen.until is not None
        assert timedelta(0) < seen.until - datetime.now(UTC) <= timedelta(minutes=5)
    assert seen.commands[0].startswith(command)


MEMORY = "100 MB of memory are free, below min_free_memory=500"
DISK = "100 MB of the disk are free at /tmp, below min_free_disk=500"
AT_LIMIT = {"limit": 2, "agents": 2}


@pytest.mark.parametrize(
    ("workers", "reason"),
    [
        ([AT_LIMIT], "Worker w0 has its 2 agents at work (--limit)"),
        ([{"limit": 1, "agents": 1}], "Worker w0 has its one agent at work (--limit)"),
        ([{"full": MEMORY}], "Worker w0 starts no more agents: it is short of memory (min_free_"),
        ([{"full": DISK}], "short of disk space (min_free_disk)"),
        ([AT_LIMIT, {"full": MEMORY}], "All 2 workers that take it are full"),
        ([AT_LIMIT, {"limit": 2, "agents": 1}], ""),
        ([AT_LIMIT, {"labels": ("macos",)}], "Worker w0 has its 2 agents at work"),
        ([AT_LIMIT, None], ""),
    ],
)
async def test_a_task_that_is_due_waits_for_room_on_the_workers(
    workers: list[dict[str, Any] | None], reason: str
) -> None:
    site = Site(**({"host": "linux"} if {"labels": ("macos",)} in workers else {}))
    pool = names.agents_pool(site.app.name)
    site.client.pools[pool] = WorkPool(name=pool, type="athanore", default_queue_id=uuid4())
    now = datetime.now(UTC)
    for number, said in enumerate(workers):
        name = f"w{number}"
        there = site.client.workers_of.setdefault(pool, [])
        there.append(
            Worker(
                name=name,
                work_pool_id=uuid4(),
                last_heartbeat_time=now,
                status=WorkerStatus.ONLINE,
            )
        )
        if said is not None:  # else it is a worker of Prefect's own
            here: dict[str, Any] = {"labels": ("linux",) if said is AT_LIMIT else ()}
            entry = WorkerEntry(name, name, "host", now, **here | said)
            client: Any = site.client
            await fleet.announce(client, site.app.name, entry)
    await site.run(Scheduled())
    seen = await site.why()
    if not reason:
        assert seen.reason == "Its run is due: a worker takes it in a moment."
        return
    assert reason in seen.reason
    assert seen.reason.endswith("; it is number 1 in the line of its route.")
    assert seen.commands == ("athanore workers",)


async def test_a_retry_says_when_and_why() -> None:
    site = Site()
    due = datetime.now(UTC) + timedelta(hours=1)
    await site.run(AwaitingRetry(scheduled_time=due, message="Retry 1/2: exit code 3."))
    seen = await site.why()
    assert seen.reason == "Attempt 2 is due later: Retry 1/2: exit code 3."
    assert seen.until == due


async def test_a_task_that_was_left_in_progress() -> None:
    site = Site()
    await site.run(Cancelled(message="by eve: not now"))
    seen = await site.why("In Progress")
    assert seen.reason == (
        "Its last run ended as Cancelled (by eve: not now). No route watches 'In Progress' "
        "(watched: 'Todo')."
    )
    assert seen.commands[0] == f"athanore requeue {site.task.id}"


async def test_a_task_that_is_nobodys() -> None:
    seen = await Site().why("Done")
    assert (seen.route, seen.commands) == (None, ())
    assert seen.reason == "No route watches 'Done' (watched: 'Todo')."


class Counting(MemoryRunStore):
    """Counts how often Prefect is asked for anything."""

    asked = 0

    def __getattribute__(self, name: str) -> Any:
        if name in ("find", "count", "values", "value", "deployments", "work_pool", "read_run"):
            Counting.asked += 1
        return super().__getattribute__(name)


async def test_why_many_tasks_wait_is_asked_once_for_all_of_them() -> None:
    site = Site(respect_blockers=True, labels=["ready"])
    site.client.__class__ = Counting
    board = site.board
    due = datetime.now(UTC) + timedelta(hours=1)
    retried = board.update_task(site.task.id, labels=["ready"])
    await site.run(AwaitingRetry(scheduled_time=due, message="Retry 1/2: exit code 3."))
    unlabelled = board.create_task("Todo", "No label")
    blocked = board.create_task("Todo", "Blocked", f"Blocked by: #{retried.id}")
    board.update_task(blocked.id, labels=["ready"])
    ended = board.create_task("Done", "Over")

    async def whys() -> tuple[dict[str, Explanation], int]:
        Counting.asked = 0
        tasks = board.get_ready_tasks(["Todo", "Done"])
        routes = await site.app.routes.read(site.client)
        known = await reasons.read(site.client, site.app, routes, tasks)
        holds = Holds(site.app, routes)
        holds.has_read(tasks)
        found = await reasons.of_tasks(known, tasks, holds, whole=True)
        return found, Counting.asked

    few, asked = await whys()
    assert few[retried.id].until == due
    assert "wants label 'ready'" in few[unlabelled.id].reason
    assert few[blocked.id].reason.startswith(f"It is blocked by task {retried.id}")
    assert ended.id not in few
    added = [board.create_task("Todo", f"Task {number}") for number in range(100)]
    more = board.update_task(added[0].id, labels=["ready"])
    for task in added[1:]:
        board.update_task(task.id, labels=["ready"])
    many, again = await whys()
    assert len(many) == 103
    one = await explain(site.client, site.app, board.get_task(more.id))
    assert many[more.id] == one, "the same reason as `explain` gives"
    assert again <= asked + 6, "whatever there is to ask is asked once for all tasks"
