"""What people and agents do with tasks on the board: read, create, comment, move.

The board comes first: a Prefect that is away holds none of this up, and the next poll of the queue
does what it could not be told.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from athanore.errors import AnswerLostError, AthanoreError, BoardError, TaskNotFoundError
from athanore.models import EventKind, Task
from athanore.runtime.apps import App
from athanore.services import runs
from athanore.services.access import PrefectAccess

logger = logging.getLogger("athanore")

_MAX_AGE_OF_LIST = timedelta(minutes=1)
"""How old the list of open tasks may be that is shown to who mistyped an id."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A task that has come into a queue; `run` is the agent run that waits for it, if any."""

    task: Task
    run: FlowRun | None


async def read(app: App, task_id: str) -> Task:
    """Read a task.

    Raises:
        TaskNotFoundError: no task has this id; the message names the open tasks.
    """
    async with naming_open_tasks(app):
        return await app.board.task(task_id)


async def create(
    access: PrefectAccess, app: App, queue_name: str, name: str, description: str = ""
) -> Arrival:
    """Create a task; if a route watches its queue, an agent run is created at once.

    Secrets in the texts are replaced.

    Raises:
        QueueNotFoundError, InvalidTaskError: the board has no such queue, or cannot take a value.
    """
    clean = app.redactor.text
    task = await app.board.create(queue_name, clean(name), clean(description))
    return Arrival(task, await dispatch_if_watched(access, app, task))


async def comment(app: App, task_id: str, text: str, by: str, run_id: UUID | None = None) -> None:
    """Post a comment on a task, and tell who follows its events.

    Args:
        text: secrets in it are replaced.
        by: the role of who wrote it: `agent`, `operator` or `anybody`.
        run_id: the run of the agent that wrote it.

    Raises:
        TaskNotFoundError: no task has this id; the message names the open tasks.
    """
    text = app.redactor.text(text)
    async with naming_open_tasks(app):
        task_id = await app.board.id_of(task_id)
        await app.board.comment(task_id, text)
    app.announcer.announce(task_id, EventKind.COMMENT, {"text": text, "by": by}, run_id)


async def move(
    access: PrefectAccess,
    app: App,
    task_id: str,
    queue_name: str,
    by: str,
    run_id: UUID | None = None,
    note_own: Callable[[], Awaitable[None]] | None = None,
) -> Arrival:
    """Move a task; if a route watches the queue, an agent run is created at once.

    Args:
        by: the role of who moves it: `agent`, `operator` or `anybody`.
        run_id: the run of the agent that moves it.
        note_own: for an agent that moves its own task: it notes that on the run, before the move,
            so that no poll stops the agent for it. Nothing is dispatched then: the end of the
            agent's run does that.

    Raises:
        TaskNotFoundError: no task has this id; the message names the open tasks.
        QueueNotFoundError: the board has no such queue.
        AnswerLostError: it may be moved, or is, and could not be read there.
    """
    before = await read(app, task_id)
    task_id = before.id
    if note_own is not None:
        await app.board.queue(queue_name)  # a note of a move that is refused would hide a person's
        await note_own()
    # An agent that works on it has to be stopped, unless it is the agent that moves it.
    taken = note_own is None and before.queue_name in {
        known.route.in_progress_queue for known in app.routes.remembered().values()
    }
    async with naming_open_tasks(app):
        await app.board.move(task_id, queue_name, followed=not taken)
    try:
        task = await app.board.task(task_id)
    except BoardError as exc:  # not the error itself: that would say that nothing was changed
        raise AnswerLostError(
            f"Task {task_id!r} was moved to {queue_name!r} and could not be read there: {exc}"
        ) from exc
    data = {"from_queue": before.queue_name, "to_queue": task.queue_name, "by": by}
    app.announcer.announce(task_id, EventKind.MOVED, data, run_id)
    if note_own is not None:
        return Arrival(task, None)
    return Arrival(task, await dispatch_if_watched(access, app, task))


@asynccontextmanager
async def naming_open_tasks(app: App) -> AsyncGenerator[None]:
    """Have the refusal of a task's id say which open tasks there are.

    Raises:
        TaskNotFoundError: as it was raised in the block, with the open tasks.
    """
    try:
        yield
    except TaskNotFoundError as exc:
        with suppress(BoardError):
            await app.view.read(_MAX_AGE_OF_LIST.total_seconds())
        existing = {t.id: t.name for t in app.view.last.tasks}
        raise TaskNotFoundError(exc.task_id, existing) from exc


async def dispatch_if_watched(
    access: PrefectAccess, app: App, task: Task, *, left: bool = False
) -> FlowRun | None:
    """Create the run of a task that has come into a queue; None where there is none to create.

    Args:
        left: it has come from another queue, so that what waited for it may start.
    """
    in_code = [k.route for k in app.routes.in_code().values()]
    frees = left and any(r.respect_blockers for r in in_code)
    watched = task.queue_name in {r.queue_name for r in in_code}
    if not (app.routes.is_open or watched or frees):
        return None
    try:
        async with access.client() as prefect:
            done = await runs.dispatch_if_watched(prefect, app, task)
            if left:
                await runs.dispatch_unblocked(prefect, app, task.id)
    except AthanoreError as exc:
        logger.warning(
            "The next poll dispatches task %r: %s",
            task.id,
            exc,
            extra={"action": "dispatch_delayed"},
        )
        return None
    return None if done is None else done.run
