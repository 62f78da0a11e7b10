"""A site for tests of the rules: an app with routes and a task, on a store in memory."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Pending,
    Running,
    Suspended,
)

from athanore import AgentDispatcher, AgentOutcome, AgentResult, MemoryAdapter
from athanore.errors import (
    BoardError,
    BoardUnavailableError,
    TaskNotFoundError,
)
from athanore.flows.sweeping.sweep import look_once
from athanore.models import Task
from athanore.processes import identity
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.records.record import Holder, Start, record_of
from athanore.runs.records.route_record import RouteRecord
from athanore.runs.records.run_log import RunLog
from athanore.runtime.apps import App
from athanore.services import runs
from tests.harness import prompt
from tests.memory_store import MemoryRunStore, deploy_in_memory

LOG = logging.getLogger("athanore.tests")


DEAD = Holder("lost-1", f"{identity.host()}:999999999:1.00")


QUEUES = ["Todo", "Next", "In Progress", "Done", "Failed", "Cancelled", "Elsewhere"]


class Board(MemoryAdapter):
    """A board from which a task may be gone."""

    gone = ""
    away = False
    refuses_moves: BoardError | None = None
    refuses_reads: BoardError | None = None

    def move_task(self, task_id: str, target_queue: str) -> None:
        if self.refuses_moves is not None:
            raise self.refuses_moves
        super().move_task(task_id, target_queue)

    def get_task(self, task_id: str) -> Task:
        if self.away:
            raise BoardUnavailableError("The board is away.")
        if self.refuses_reads is not None:
            raise self.refuses_reads
        if task_id == self.gone:
            raise TaskNotFoundError(task_id)
        return super().get_task(task_id)

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        if self.away:
            raise BoardUnavailableError("The board is away.")
        return [t for t in super().get_ready_tasks(queue_names) if t.id != self.gone]


class Site:
    """An app with two routes, a task, and what Prefect knows of it."""

    further: Sequence[str] = ("Next",)

    def __init__(self, **options: Any) -> None:
        self.client = self.prefect()
        self.board = self.queues()
        options = {"done_queue": "Done", "dead_letter_queue": "Failed", "max_retries": 2} | options
        self.dispatcher = AgentDispatcher(
            "true", queue_backend=self.board, name=f"rules-{uuid4().hex[:8]}"
        )
        self.dispatcher.route("Todo", **options)(prompt)
        for queue in self.further:
            self.dispatcher.route(queue)(prompt)
        self.app = App("run.py:dispatcher", self.dispatcher)
        for queue in self.dispatcher.routes:
            deploy_in_memory(self.client, self.app.name, queue)
        self.task_id = self.board.create_task("Todo", "Fix it").id

    def prefect(self) -> MemoryRunStore:
        return MemoryRunStore()

    def queues(self) -> Board:
        return Board(QUEUES, user="athanore")

    @property
    def route(self) -> Route:
        return self.dispatcher.routes["Todo"]

    @property
    def place(self) -> str:
        return self.board.get_task(self.task_id).queue_name

    @property
    def comments(self) -> list[str]:
        return [c.text for c in self.board.get_task(self.task_id).comments]

    async def dispatched(self, queue: str = "Todo") -> FlowRun:
        task = replace(self.board.get_task(self.task_id), queue_name=queue)
        return await self.app.dispatching.dispatch(self.client, self.dispatcher.routes[queue], task)

    async def put(self, run: FlowRun, *states: State[Any]) -> FlowRun:
        for state in states:
            await self.client.impose(run.id, state)
        return await self.client.read_run(run.id)

    async def noted(self, run: FlowRun, holder: Holder = DEAD) -> FlowRun:
        """The run, once its flow has said who has it."""
        assert run.state is not None
        known = record_of(run)
        start = Start(str(run.state.id), known.starts + 1, holder.process)
        route = RouteRecord.of(self.dispatcher.routes[store.route_name(run)]).dump()
        begun = known.begun(start, run.run_count, holder.worker, "", "a proof", route)
        await self.client.add_labels(run.id, begun.changes(run.labels))
        return await self.client.read_run(run.id)

    async def at_work(self, queue: str = "In Progress") -> FlowRun:
        run = await self.put(await self.dispatched(), Pending(message=str(DEAD)), Running())
        self.board.move_task(self.task_id, queue)
        return await self.noted(run)

    def log(self, run: FlowRun) -> RunLog:
        return RunLog(self.client, run, self.route.retry)

    async def cancelled(self) -> runs.Cancellation:
        task = self.board.get_task(self.task_id)
        return await runs.cancel(self.client, self.app, task, "me", "not now")

    async def sweep(self) -> None:
        """Look after the app's runs and tasks."""
        await look_once(self.client, self.app)


PHASES: dict[str, Callable[[], list[State[Any]]]] = {
    "waiting": lambda: [],
    "retrying": lambda: [Pending(), Running(), AwaitingRetry(scheduled_time=datetime.now(UTC))],
    "pending": lambda: [Pending()],
    "working": lambda: [Pending(), Running()],
    "suspended": lambda: [Pending(), Running(), Suspended(timeout_seconds=600)],
    "cancelling": lambda: [Pending(), Running(), Cancelling(message="before")],
    "completed": lambda: [Completed()],
    "failed": lambda: [Failed()],
    "crashed": lambda: [Crashed()],
    "cancelled": lambda: [Cancelled()],
}


ENDED = ("completed", "failed", "crashed", "cancelled")


NOT_TAKEN = ("waiting", "retrying", "suspended")


RESULTS = {
    "nothing": None,
    "succeeded": AgentResult(AgentOutcome.SUCCEEDED),
    "failed": AgentResult(AgentOutcome.FAILED, "exit code 1"),
    "timed out": AgentResult(AgentOutcome.TIMED_OUT, "timed out"),
    "hopeless": AgentResult(AgentOutcome.FAILED, "no such command", retryable=False),
}


class Access:
    """A way to the store of a site, as use cases take it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Any]:
        yield self._site.client
