"""The events that we send to Prefect: their names, what they are of, and what is in each.

What is in an event is a `TypedDict` here, and all events of agents are sent by `send`.
docs/formats.md has the same as a table; a test compares the two, and what is really sent with both.
Adapters of users may add keys of their own, which are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Context, ContextVar, copy_context
from typing import Any, Literal, NotRequired, TypedDict

from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import emit_event

from athanore.models import EventKind

PREFIX = "athanore.agent."
"""The events of a task's life begin so; the kind follows."""

ACTIVITY = "athanore.activity"
"""An agent has called a task API in another process; there is nothing in it."""

ROUTE_PAUSED = "athanore.route.paused"
"""A route has paused itself."""

WORKER_LOST = "athanore.worker.lost"
"""A worker has not been heard of for long, and has not said that it ends."""

WORKER_BACK = "athanore.worker.back"
"""A worker that was told as lost is heard of again."""


class Numbers(TypedDict):
    """What every event of a task's life has: readers fill gaps and drop repeats by it.

    `src` says who numbers; without it that is the start of the run, as the resource has it.
    """

    seq: int
    src: NotRequired[str]


class Claimed(TypedDict):
    """A run has claimed its task: from which queue, and for which attempt, from 1."""

    queue: str
    attempt: int


class Started(TypedDict):
    """An agent has been started; `pid` is null where it is no process of its own."""

    pid: int | None
    command: str


class Span(TypedDict):
    """A part of a line, in characters, and how a terminal would show it: `red bold`."""

    start: int
    length: int
    style: str


class Line(TypedDict):
    """One line of an agent's output, without its newline; `styles` only where it has colours."""

    stream: Literal["stdout", "stderr"]
    text: str
    styles: NotRequired[list[Span]]


class Output(TypedDict):
    """What an agent has written, gathered over a moment."""

    lines: list[Line]


class ToolUse(TypedDict):
    """An agent calls a tool; an input that is too long is its text, cut."""

    name: str
    input: Any


class ToolResult(TypedDict):
    """What a tool came to; the text is cut."""

    name: str
    is_error: bool
    text: str


class Cost(TypedDict, total=False):
    """What the attempt has used so far; each adapter says what it knows of it.

    Others than these, such as `cached_input_tokens`, are those of one adapter.
    """

    cost_usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    turns: int | None
    session_id: str | None
    model: str | None


class UsageWindow(TypedDict):
    """How much of a provider's limit is used, from 0 to 1, and when it is reset, in ISO 8601."""

    kind: str
    used: float | None
    resets_at: str | None


class Progress(TypedDict, total=False):
    """How far an agent is: in its own words, by its report, or that its session has begun.

    `limit` says that a usage limit of its provider is near.
    """

    percent: float | None
    text: str | None
    session_id: str | None
    model: str | None
    limit: UsageWindow | None


class Comment(TypedDict):
    """Somebody has commented by the task API or the command line; `by` is their role."""

    text: str
    by: str


class Moved(TypedDict):
    """Somebody has moved the task by the task API or the command line; `by` is their role."""

    from_queue: str
    to_queue: str
    by: str


class Ended(TypedDict):
    """A start of a run has ended; the message is the one of the run's state."""

    message: str


class DeadLettered(TypedDict):
    """A task was given up: where it is now, and why."""

    queue: str
    reason: str


class Asked(TypedDict):
    """An agent has asked people something."""

    question_id: str
    question: str


class Answered(TypedDict):
    """Somebody has answered a question; `by` is what they call themselves."""

    question_id: str
    answer: str
    by: str


class Unanswered(TypedDict):
    """Nobody has answered a question, and nobody needs to any more: why."""

    question_id: str
    reason: str


class RoutePaused(TypedDict):
    """Why a route has paused itself."""

    reason: str


class WorkerMissed(TypedDict):
    """Of a worker that was lost or came back: what people should know of it."""

    reason: str


SHAPES: Mapping[EventKind, type] = {
    EventKind.CLAIMED: Claimed,
    EventKind.STARTED: Started,
    EventKind.OUTPUT: Output,
    EventKind.TOOL_USE: ToolUse,
    EventKind.TOOL_RESULT: ToolResult,
    EventKind.COST: Cost,
    EventKind.PROGRESS: Progress,
    EventKind.COMMENT: Comment,
    EventKind.MOVED: Moved,
    EventKind.RETRYING: Ended,
    EventKind.FINISHED: Ended,
    EventKind.FAILED: Ended,
    EventKind.CANCELLED: Ended,
    EventKind.DEAD_LETTERED: DeadLettered,
    EventKind.ASKED: Asked,
    EventKind.ANSWERED: Answered,
    EventKind.EXPIRED: Unanswered,
    EventKind.WITHDRAWN: Unanswered,
}
"""What is in an event of each kind, beside `Numbers`."""


def in_words() -> str:
    """What is in the events of each kind, for a description."""
    known = (
        (kind, ", ".join(f"`{key}`" for key in shape.__annotations__))
        for kind, shape in SHAPES.items()
    )
    return "; ".join(f"`{kind}`: {keys}" for kind, keys in known)


def send_of_worker(event: str, app: str, worker: str, why: str) -> None:
    """Tell that a worker was lost, or came back."""
    told: WorkerMissed = {"reason": why}
    resource = {
        "prefect.resource.id": f"athanore.worker.{app}.{worker}",
        "prefect.resource.name": worker,
        "athanore.app": app,
    }
    emit_event(event=event, resource=resource, payload={**told})


def send(
    kind: EventKind,
    data: Mapping[str, Any],
    numbers: Numbers,
    resource: Mapping[str, str],
    related: Sequence[Mapping[str, str]] = (),
) -> None:
    """Send an event of a task's life; it never raises for a Prefect that is away.

    Prefect would relate each to the flow, deployment, pool, queue and tags of the run in which it
    is sent, ten things in all, and write each down five times: it is sent from outside the run.

    Args:
        data: as `SHAPES` has it for the kind.
        resource: what it is of: the task (`names.task_labels`).
        related: the run that it belongs to, if there is one.
    """
    _outside_of_runs().run(
        emit_event,
        event=f"{PREFIX}{kind}",
        resource=dict(resource),
        related=[dict(each) for each in related],
        payload={**numbers, **data},
    )


def _outside_of_runs() -> Context:
    """This context, settings and all, as if no flow or task run were under way in it."""
    context = copy_context()
    for of_run in (FlowRunContext, TaskRunContext):
        variable: ContextVar[Any] = of_run.__var__
        context.run(variable.set, None)
    return context
