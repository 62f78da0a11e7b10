"""What the endpoints of the API share: the app, its board, Prefect, and who calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from fastapi import Depends, Path, Request
from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings

from athanore.api.events.activity import Activity
from athanore.api.events.last_lines import LastLines
from athanore.api.events.live import LiveEvents
from athanore.api.events.progress import ProgressReports
from athanore.api.memory.comment_keys import CommentKeys
from athanore.api.memory.idempotency import Once, key_reused
from athanore.api.memory.remembered import MAX_AGE, Remembered
from athanore.api.memory.task_list import TaskList
from athanore.api.models import ChecklistItemModel, TaskModel, comment_of, summary_of
from athanore.api.monitoring.attention import Attention
from athanore.api.monitoring.finished import FinishedRuns
from athanore.api.monitoring.instruments import Metrics
from athanore.api.page.page import Pages
from athanore.api.page.snapshot import Snapshots
from athanore.api.prefect.agent_runs import AgentRuns, TaskRuns, run_model
from athanore.api.prefect.link import PrefectLink
from athanore.api.prefect.moves import Moves
from athanore.api.prefect.removals import Removals
from athanore.api.prefect.seen import Seen
from athanore.api.problems import Problem
from athanore.api.results import Results
from athanore.api.security.auth import Caller, Gate
from athanore.dispatcher import AgentDispatcher
from athanore.errors import PrefectUnavailableError
from athanore.models import Task
from athanore.runtime.apps import App
from athanore.runtime.background import SideTasks
from athanore.runtime.boards.board import Board
from athanore.services import tasks
from athanore.services.showing.cost_views import By, Report
from athanore.services.status.costs import costs

_COSTS_AGE = timedelta(seconds=15)


class Service:
    """The API's state, made once for a server."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.prefect = PrefectLink(app.margins.prefect, app.clock)
        self.runs = AgentRuns(app, self.prefect)
        self.gate = Gate(app, self.prefect)
        self.redactor = app.redactor
        self.beside = SideTasks("Work that a request has begun")
        self.activity = Activity(app)
        self.live = LiveEvents(app.name)
        self._lines = LastLines(app.name, self.live, self.prefect)
        self.seen = Seen(app, self.prefect)
        self.task_list = TaskList(app.board, self.seen.whys)
        self.pages = Pages(app.name)
        self.snapshots = Snapshots(app, self.prefect, self.seen, self._lines)
        self.moves = Moves(self.prefect)
        self.results = Results(app, self.prefect, self.runs)
        self.progress = ProgressReports(self.prefect, app.announcer)
        self.metrics = Metrics()
        self.attention = Attention(app, self.prefect)
        self.finished = FinishedRuns(app.name, self.prefect, self.metrics.count)
        self.costs = Remembered(self._read_costs, _COSTS_AGE)
        self._shown = Remembered(self._read_shown, MAX_AGE)
        self.once = Once()
        self._keys = CommentKeys(app.name, get_current_settings().home / "athanore")
        self.changing_routes = asyncio.Lock()
        self.removals = Removals(app, self.prefect)
        self.started_at = datetime.now(UTC)

    @property
    def board(self) -> Board:
        """The board, for async callers."""
        return self.app.board

    @property
    def dispatcher(self) -> AgentDispatcher:
        """The user's app object."""
        return self.app.dispatcher

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Hold what the service needs for as long as the server runs."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.prefect)
            await stack.enter_async_context(self.removals)
            stack.push_async_callback(self.live.stopped)
            stack.push_async_callback(self._lines.close)
            stack.push_async_callback(self.progress.close)
            stack.push_async_callback(self.moves.close)
            yield

    def stop(self) -> None:
        """End what would keep the server from stopping."""
        self.live.close()

    async def task(self, task_id: str) -> Task:
        """Read a task; see `tasks.read`."""
        return await tasks.read(self.app, task_id)

    async def shown(self, task_id: str) -> Task:
        """Read a task to show it, once for all who ask at the same time.

        A board that has no change stamp is remote, and asked every 2 s at most, unless something
        was written through this process since, or a webhook has told of a change.

        Raises:
            TaskNotFoundError: as `task`; that is never remembered.
        """
        if self.board.has_stamp:
            return await self.task(task_id)
        return await self._shown.get((task_id, self.board.changes))

    async def _read_costs(self, key: tuple[By, int]) -> Report:
        async with self.prefect.client() as client:
            return await costs(client, self.app, *key)

    async def _read_shown(self, key: tuple[str, int]) -> Task:
        return await self.task(key[0])

    async def comment_once(self, caller: Caller, task_id: str, key: str | None, text: str) -> None:
        """Post a comment, unless a request with the same key has posted it.

        Raises:
            TaskNotFoundError: no task has this id.
            Problem: 409, the key was used for another comment.
        """
        post = partial(tasks.comment, self.app, task_id, text, caller.role, caller.run_id)
        if key is None:
            await post()
            return
        noted = await self._keys.note(task_id, key, text)
        if noted is not None and not noted.same:
            raise key_reused(key)
        if noted is None or not noted.is_among((await self.task(task_id)).comments, text):
            await post()
        await self._keys.posted(task_id, key)

    async def whole(
        self, task: Task, dispatched: FlowRun | None = None, *, fresh: bool = True
    ) -> TaskModel:
        """A task for an answer, with what Prefect knows of it.

        Args:
            dispatched: the task's run if it was created just now.
            fresh: the task was changed just now; else its runs are as they were at most 2 s ago.
        """
        retry_count, active = None, None
        try:
            known = TaskRuns(dispatched, dispatched)
            if dispatched is None:
                known = await self.runs.of_task(task.id, fresh=fresh)
            else:
                self.runs.changed(task.id)
        except PrefectUnavailableError:
            pass
        else:
            retry_count = known.retry_count
            active = None if known.active is None else run_model(known.active)
        return TaskModel(
            **summary_of(task).model_dump(),
            comments=[comment_of(c) for c in task.comments],
            tasks=[
                ChecklistItemModel(id=i.id, name=i.name, is_completed=i.is_completed)
                for i in task.tasks
            ],
            retry_count=retry_count,
            active_run=active,
        )


async def _service(request: Request) -> Service:  # else it would run in a thread
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


type ServiceDep = Annotated[Service, Depends(_service)]


async def _task_id(task_id: Annotated[str, Path()], service: ServiceDep) -> str:
    return await service.board.id_of(task_id)


type TaskIdDep = Annotated[str, Depends(_task_id)]
"""The task of a path; people may write what they call it (`ENG-12`) instead of its id."""


async def _managed(service: ServiceDep) -> Service:
    if not service.dispatcher.settings.enable_queue_management:
        raise Problem(
            403,
            "queue-management-off",
            "Queues and routes cannot be changed here: the app was started without "
            "enable_queue_management=True (or ATHANORE_ENABLE_QUEUE_MANAGEMENT=true).",
        )
    return service


type ManagedDep = Annotated[Service, Depends(_managed)]
"""The service, for endpoints that change queues or routes."""
