"""The tools that MCP clients are offered: calls of the task API, one function each.

To add a tool, write a function here and list it in `TOOLS`. Its docstring is what a model reads, so
it is short and says what to do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Response
from pydantic import Field

from athanore.api.models import (
    CancelRequest,
    CommentRequest,
    DispatchRequest,
    MoveRequest,
    ProgressRequest,
    ResultRequest,
    TaskModel,
    TaskRequest,
    TaskUpdate,
    Visible,
    Words,
)
from athanore.api.problems import Problem
from athanore.api.routers import questions, queues, tasks
from athanore.api.routers.questions import AnswerRequest, QuestionRequest
from athanore.api.security.auth import Caller
from athanore.api.service import Service
from athanore.mcp.tool import Arguments, Tool
from athanore.runtime.routes.route_registry import called
from athanore.services.people.questions import LONGEST_WAIT
from athanore.services.runs import LONGEST_REASON
from athanore.services.showing.views import QuestionView

_PLACE = frozenset({"id", "name", "queue_name", "labels", "assignees", "url"})


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls a tool, and where what it needs is."""

    service: Service
    caller: Caller

    @property
    def audience(self) -> str:
        """Whose tools the caller may use."""
        return self.caller.scope or "agents"

    @property
    def may_have_a_result(self) -> bool:
        """Whether the caller's route, or of nobody's agent any route, has an `output`."""
        routes = self.service.app.routes.remembered()
        mine = called(routes, self.caller.route or "")
        asked = [mine] if mine else routes.values()
        return any(known.route.output is not None for known in asked)

    def is_offered(self, tool: Tool[Call]) -> bool:
        """Whether the caller is told of a tool: a model pays for each in all of its requests."""
        if tool.work is submit_result and not self.may_have_a_result:
            return False
        return self.audience in tool.given_to

    async def any_task(self, task_id: str | None) -> str:
        """The id of the task that a call means, by whichever name: its agent's own for none.

        Raises:
            Problem: 422, it names none, and nobody's agent calls.
            TaskNotFoundError: no task is called so.
        """
        if task_id and task_id != self.caller.task_id:
            return await self.service.board.id_of(task_id)
        if self.caller.task_id is not None:
            return self.caller.task_id
        raise Problem(422, "no-task", "Say which task you mean: send its `task_id`.")

    async def own_task(self, task_id: str | None) -> str:
        """The id of the task that a call means to change.

        Raises:
            Problem: 403, an agent means another than its own; 422 as above.
            TaskNotFoundError: as above.
        """
        if (
            task_id
        ):  # before it is looked up: whose task it is not, is not told whether there is one
            await self.service.gate.check_task(self.caller, task_id)
        return await self.any_task(task_id)


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


class Result(OfTask):
    """What an agent has come to."""

    result: dict[str, Any] = Field(description="As your instructions describe it.")


class Queue(Arguments):
    """A queue, or all."""

    queue_name: str | None = Field(default=None, description="Of all queues if you leave it out.")


class Cancel(OfTask):
    """Why an agent is stopped."""

    reason: Words = Field(default="", max_length=LONGEST_REASON, description="Shown on the task.")


class Question(OfTask):
    """A question for people."""

    question: Visible = Field(
        max_length=2000, description="All that a person needs to know to answer it."
    )
    choices: list[Visible] = Field(
        default_factory=list[str], description="The answer is one of these, if there are any."
    )
    wait_s: float = Field(
        default=LONGEST_WAIT, ge=0, le=LONGEST_WAIT, description="How long to wait now."
    )


class Answer(Arguments):
    """What a person says to a question."""

    question_id: Visible
    answer: Any = Field(description="A text, or what the question's `answer_schema` asks for.")


async def get_task(call: Call, args: OfTask) -> TaskModel:
    """Read a task: its description, comments, checklist, labels and queue."""
    return await tasks.get_task(await call.any_task(args.task_id), call.service)


async def add_comment(call: Call, args: Comment) -> Any:
    """Post a comment on your task: say there what people should know about your work."""
    return await tasks.add_comment(
        await call.own_task(args.task_id),
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
    task_id = await call.own_task(args.task_id)
    return _place(await tasks.move_task(task_id, body, call.service, call.caller))


async def update_task(call: Call, args: Update) -> Any:
    """Change fields of your task; what you leave out stays as it is."""
    body = TaskUpdate(**args.model_dump(exclude={"task_id"}, exclude_unset=True))
    return _place(await tasks.update_task(await call.own_task(args.task_id), body, call.service))


async def create_task(call: Call, args: Create) -> Any:
    """Create another task; if its queue is watched, an agent starts on it at once."""
    body = TaskRequest(**args.model_dump(exclude={"idempotency_key"}))
    made = await tasks.create_task(
        body, call.service, call.caller, Response(), args.idempotency_key
    )
    return _place(made)


async def list_queues(call: Call, args: Arguments) -> Any:
    """List the queues of the board and how many tasks are in each."""
    return await queues.list_queues(call.service)


async def report_progress(call: Call, args: Report) -> Any:
    """Say how far you are, for people who watch: in percent, and in a few words."""
    body = ProgressRequest(percent=args.percent, text=args.text)
    task_id = await call.own_task(args.task_id)
    return await tasks.report_progress(task_id, body, call.service, call.caller)


async def submit_result(call: Call, args: Result) -> Any:
    """Hand in your result, if your instructions ask for one; an error says what to correct."""
    body = ResultRequest(result=args.result)
    task_id = await call.own_task(args.task_id)
    return await tasks.hand_in_result(task_id, body, call.service, call.caller)


async def ask_person(call: Call, args: Question) -> Any:
    """Ask a person, when you cannot decide something by yourself.

    If the answer is `pending`, end your work: you are started again with the answer. The same
    question again waits again.
    """
    body = QuestionRequest(**args.model_dump(exclude={"task_id"}))
    task_id = await call.own_task(args.task_id)
    return _asked(await questions.ask_question(task_id, body, call.service, call.caller))


async def list_questions(call: Call, args: Arguments) -> Any:
    """List the questions of agents that wait for a person."""
    return await questions.list_questions(call.service)


async def answer_question(call: Call, args: Answer) -> Any:
    """Answer a question of an agent, in the words of the person that you work for."""
    body = AnswerRequest(answer=args.answer)
    done = await questions.answer_question(args.question_id, body, call.service, call.caller)
    return _asked(done)


async def list_tasks(call: Call, args: Queue) -> Any:
    """List the open tasks, queue by queue, without their comments."""
    queue = args.queue_name
    return json.loads(await call.service.task_list.json((queue,) if queue else None))


async def explain_task(call: Call, args: OfTask) -> Any:
    """Say why a task is where it is: what happens now, what it waits for, what changes that."""
    return await tasks.explain_task(await call.any_task(args.task_id), call.service)


async def dispatch_task(call: Call, args: OfTask) -> Any:
    """Have an agent work on a task now, instead of at the next poll of its queue."""
    return await tasks.dispatch_task(
        await call.own_task(args.task_id), DispatchRequest(), call.service
    )


async def cancel_task(call: Call, args: Cancel) -> Any:
    """Stop the agent of a task. Where the task goes is said by its route."""
    body = CancelRequest(reason=args.reason)
    return await tasks.cancel_task(
        await call.own_task(args.task_id), body, call.service, call.caller
    )


_AGENTS = frozenset({"agents"})
_READERS = frozenset({"read", "steer"})
_STEERERS = frozenset({"steer"})

TOOLS: tuple[Tool[Call], ...] = (
    Tool(get_task, _AGENTS | _READERS, OfTask, reads=True),
    Tool(add_comment, _AGENTS | _STEERERS, Comment),
    Tool(move_task, _AGENTS | _STEERERS, Move, idempotent=True),
    Tool(update_task, _AGENTS, Update, idempotent=True),
    Tool(create_task, _AGENTS | _STEERERS, Create),
    Tool(list_queues, _AGENTS | _READERS, reads=True),
    Tool(report_progress, _AGENTS, Report, idempotent=True),
    Tool(submit_result, _AGENTS, Result, idempotent=True),
    Tool(ask_person, _AGENTS, Question, idempotent=True),
    Tool(list_questions, _READERS, reads=True),
    Tool(answer_question, _STEERERS, Answer),
    Tool(list_tasks, _READERS, Queue, reads=True),
    Tool(explain_task, _READERS, OfTask, reads=True),
    Tool(dispatch_task, _STEERERS, OfTask, idempotent=True),
    Tool(cancel_task, _STEERERS, Cancel, idempotent=True, destructive=True),
)
"""`agents` are the agents at work, and everybody where no tokens are required; `read` and `steer`
are people with such a key."""


def _asked(question: QuestionView) -> dict[str, Any]:
    """What a model needs to know of a question: no more than what has become of it."""
    wanted = {"id": question.id, "state": question.state, "answer": question.answer}
    return {**wanted, "answered_by": question.answered_by or None}


def _place(task: TaskModel) -> dict[str, Any]:
    """What a change is answered with: less than a model would pay for reading."""
    return task.model_dump(include=set(_PLACE), exclude_none=True)
