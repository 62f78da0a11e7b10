"""Frozen values that every layer shares. No I/O happens here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment on a task; `created_at` is timezone-aware, None where the board has no time.

    `author_may_write` is True where the board vouches that its author may write to it, and False
    where they may not or nobody knows; see `VouchesForAuthors`. Boards that have to ask for it do
    so only where the text begins with `/`, as commands to us do.

    `id` is the board's own, by which it is told from others of the board; None where it has none.
    """

    text: str
    author: str | None = None
    created_at: datetime | None = None
    author_may_write: bool = False
    id: str | None = None


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """One line of a task's checklist."""

    name: str
    is_completed: bool = False
    id: str | None = None


@dataclass(frozen=True, slots=True)
class BoardIdentity:
    """Which board this is: the same as another if they have any mark in common.

    Attributes:
        marks: what tells the board from others, and stays (an id, an address). Several, where one
            alone may change, or be unknown to some of those who use the board.
        place: where it is, for people.
        lasting: False for a board that ends with its process.
    """

    marks: tuple[str, ...]
    place: str
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """One card of a board, as its adapter read it.

    `queue_name` is the queue that the task was in when it was read. `comments` and `tasks` (the
    checklist) may be empty on tasks from `get_ready_tasks`; `get_task` fills them. `blocked_by`
    has the ids of the tasks that are to end first, where the board knows of such relations. `url`
    is the task's page on the board, for people; None where the adapter knows none.

    The rest is None where the board does not say it: `author` is who made the task, as comments
    name people; `priority` is the board's own word (`High`); `created_at` and `updated_at` have
    their time zone.
    """

    id: str
    name: str
    queue_name: str
    description: str = ""
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    comments: tuple[Comment, ...] = ()
    tasks: tuple[ChecklistItem, ...] = ()
    blocked_by: tuple[str, ...] = ()
    url: str | None = None
    author: str | None = None
    priority: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskDraft:
    """What is in a task that is to be created."""

    name: str
    description: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue of a board and how many tasks are in it.

    `is_open` is False where the board has closed the queue, so that its tasks are never ready.
    """

    name: str
    task_count: int
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a board's server lets an account ask until `resets_at`, and what is left of it.

    `name` says what is counted, for people (`core`, `requests`); `resets_at` has its time zone.
    """

    name: str
    limit: int
    remaining: int
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed attempt is repeated, and when.

    Attributes:
        max_retries: attempts after the first one.
        delay: the time before a retry; None means the route's next poll.
        backoff: each further delay is the last one times this (1 = constant).
        max_delay: the cap that backoff grows to; None means none.
        jitter: up to this share of the delay is added at random (0.2 = a fifth).
        max_crashes: how many lost workers a task survives, apart from `max_retries`.
    """

    max_retries: int = 0
    delay: timedelta | None = None
    backoff: float = 1.0
    max_delay: timedelta | None = None
    jitter: float = 0.0
    max_crashes: int = 3


class AgentOutcome(StrEnum):
    """How an attempt of an agent ended; a cancellation is `asyncio.CancelledError` instead."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STALLED = "stalled"


class FaultKind(StrEnum):
    """Whose trouble it is that an attempt failed."""

    AGENT = "agent"
    """The agent's own: another attempt may go better, or cannot help (`retryable`)."""

    ENVIRONMENT = "environment"
    """Agents cannot work here now, whatever the task: a missing program, an expired key. The route
    is paused, and the attempt does not count."""

    PROVIDER = "provider"
    """The provider's usage limit is reached. No failure: the attempt does not count, and all routes
    of the account wait for the reset."""

    CHECK = "check"
    """The agent's own: it ended well, and its work did not pass the route's `check`."""

    NOTHING_HAPPENED = "nothing happened"
    """The agent's own: it ended well, and has left nothing of what its route expects."""

    BUDGET = "budget"
    """A budget that was set for the agent is spent; of one with `retry_at` the attempt does not
    count, and the task waits until then."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong with an attempt, beyond its outcome.

    Attributes:
        kind: whose trouble it is.
        retry_at: from when on another attempt can go better, with its time zone; None if unknown.
        account: whose limit a PROVIDER fault is about, as `SupportsAccount` names it; "" for the
            account of the route's agent.
        text: a few words; of a PROVIDER fault the limit (`5-hour`).
    """

    kind: FaultKind = FaultKind.AGENT
    retry_at: datetime | None = None
    account: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What one attempt of an agent came to.

    `reason` is a few words that finish the sentence "Retry 1/3: ..." (`exit code 2`, `timed out`).
    `output_tail` holds the last lines of what the agent said about it, for the comment.
    `retryable` is False where another attempt cannot help (a permission that the task lacks).
    `fault` says whose trouble it was, where that is not simply the agent's: see `FaultKind`.
    `usage` is what the adapter knows of cost: `cost_usd`, `input_tokens`, `output_tokens`, `turns`,
    `model`, `session_id` and the like. Among `input_tokens` are those that were read from a
    cache or written to one (`cache_read_tokens`, `cache_write_tokens`).
    """

    outcome: AgentOutcome
    reason: str = ""
    exit_code: int | None = None
    output_tail: str = ""
    retryable: bool = True
    fault: Fault | None = None
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def succeeded(self) -> bool:
        """True when the agent did what it was started for."""
        return self.outcome is AgentOutcome.SUCCEEDED

    def has_fault(self, kind: FaultKind) -> bool:
        """Tell whether the attempt came to nothing, and whose trouble that was."""
        return not self.succeeded and self.fault is not None and self.fault.kind is kind

    @property
    def counts(self) -> bool:
        """True for an attempt of the agent: it could work, well or badly."""
        not_its_own = (FaultKind.ENVIRONMENT, FaultKind.PROVIDER)
        return not (self.is_held or any(self.has_fault(kind) for kind in not_its_own))

    @property
    def is_held(self) -> bool:
        """True for an attempt whose task waits until a budget is a new one."""
        fault = self.fault if self.has_fault(FaultKind.BUDGET) else None
        return fault is not None and fault.retry_at is not None


class EventKind(StrEnum):
    """What an event of an agent's life tells; the Prefect event is `athanore.agent.<kind>`."""

    CLAIMED = "claimed"
    STARTED = "started"
    OUTPUT = "output"
    TOOL_USE = "tool-use"
    TOOL_RESULT = "tool-result"
    COST = "cost"
    PROGRESS = "progress"
    COMMENT = "comment"
    MOVED = "moved"
    RETRYING = "retrying"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD_LETTERED = "dead-lettered"
    ASKED = "asked"
    ANSWERED = "answered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One thing that happened in an agent's life.

    For `output` the data is `{"stream": "stdout" | "stderr", "text": str}`, one line without its
    newline; for `tool-use` `{"name": str, "input": ...}`; for `cost` the same keys as
    `AgentResult.usage`.
    """

    kind: EventKind
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
