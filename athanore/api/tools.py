"""The tools that agents are offered over MCP: the calls of the task API, one function each.

To add a tool, write a function here and list it in `TOOLS`. Its docstring is what a model reads, so
it is short and says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Response
from pydantic import Field

from athanore.api.models import (
    CommentRequest,
    MoveRequest,
    ProgressRequest,
    TaskModel,
    TaskRequest,
    TaskUpdate,
    Visible,
    Words,
)
from athanore.api.problems import Problem
from athanore.api.routers import queues, tasks
from athanore.api.security.auth import Caller
from athanore.api.service import Service
from athanore.mcp.tool import Arguments, Tool

_PLACE = frozenset({"id", "name", "queue_name", "labels", "assignees", "url"})


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls a tool, and where what it needs is."""

    service: Service
    caller: Caller

    def any_task(self, task_id: str | None) -> str:
        """The task that a call means: its agent's own if it names none.

        Raises:
            Problem: 422, it names none, and nobody's agent calls.
        """
        if (meant := task_id or self.caller.task_id) is not None:
            return meant
        raise Problem(422, "no-task", "Say which task you mean: send its `task_id`.")

    def own_task(self, task_id: str | None) -> str:
        """The task that a call means to change.

        Raises:
            Problem: 403, an agent means another than its own; 422 as above.
        """
        meant = self.any_task(task_id)
        self.service.gate.check_task(self.caller, meant)
        return meant


TaskId = Annotated[
    str | None, Field(default=None, description="Your own task if you leave it out.")
]
Key = Annotated[
    str | None,
    Field(
        default=None,
        max_length=255,
        min_length=1,
        description="Any text, new for each thing that you do: a call that you repeat with it "
        "does nothing twice.",
    ),
]


class OfTask(Arguments):
    """A task."""

    task_id: TaskId = None


class Comment(OfTask):
    """A comment for a task."""

    comment: Visible
    idempotency_key: Key = None


class Move(OfTask):
    """Where a task goes."""

    target_queue: Visible = Field(description="As list_queues names it.")


class Update(OfTask):
    """What changes of a task."""

    name: Visible | None = None
    description: Words | None = Field(default=None, description="The whole new description.")
    labels: list[Visible] | None = Field(default=None, description="The whole new list.")
    assignees: list[Visible] | None = Field(default=None, description="The whole new list.")


class Create(Arguments):
    """A new task."""

    queue_name: Visible = Field(description="As list_queues names it.")
    name: Visible
    description: Words = ""
    idempotency_key: Key = None


class Report(OfTask):
    """How far the work is."""

    percent: float = Field(ge=0, le=100)
    text: Words = Field(default="", max_length=500, description="What you do now.")


async def get_task(call: Call, args: OfTask) -> TaskModel:
    """Read a task: its description, comments, checklist, labels and queue."""
    return await tasks.get_task(call.any_task(args.task_id), call.service)


async def add_comment(call: Call, args: Comment) -> Any:
    """Post a comment on your task: say there what people should know about your work."""
    return await tasks.add_comment(
        call.own_task(args.task_id),
        CommentRequest(comment=args.comment),
        call.service,
        call.caller,
        args.idempotency_key,
    )


async def move_task(call: Call, args: Move) -> Any:
    """Move your task to another queue, when and only where your instructions say so.

    That ends your work on it.
    """
    body = MoveRequest(target_queue=args.target_queue)
    task_id = call.own_task(args.task_id)
    return _place(await tasks.move_task(task_id, body, call.service, call.caller))


async def update_task(call: Call, args: Update) -> Any:
    """Change fields of your task; what you leave out stays as it is."""
    body = TaskUpdate(**args.model_dump(exclude={"task_id"}, exclude_unset=True))
    return _place(await tasks.update_task(call.own_task(args.task_id), body, call.service))


async def create_task(call: Call, args: Create) -> Any:
    """Create another task; if its queue is watched, an agent starts on it at once."""
    body = TaskRequest(**args.model_dump(exclude={"idempotency_key"}))
    return _place(await tasks.create_task(body, call.service, Response(), args.idempotency_key))


async def list_queues(call: Call, args: Arguments) -> Any:
    """List the queues of the board and how many tasks are in each."""
    return await queues.list_queues(call.service)


async def report_progress(call: Call, args: Report) -> Any:
    """Say how far you are, for people who watch: in percent, and in a few words."""
    body = ProgressRequest(percent=args.percent, text=args.text)
    task_id = call.own_task(args.task_id)
    return await tasks.report_progress(task_id, body, call.service, call.caller)


TOOLS: tuple[Tool[Call], ...] = (
    Tool(get_task, OfTask, reads=True),
    Tool(add_comment, Comment),
    Tool(move_task, Move, idempotent=True),
    Tool(update_task, Update, idempotent=True),
    Tool(create_task, Create),
    Tool(list_queues, reads=True),
    Tool(report_progress, Report, idempotent=True),
)


def _place(task: TaskModel) -> dict[str, Any]:
    """What a change is answered with: less than a model would pay for reading."""
    return task.model_dump(include=set(_PLACE), exclude_none=True)
