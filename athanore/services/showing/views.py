"""What commands and answers show of an app: values, which are read without Prefect's client.

A command that asks a running app gets them as JSON (`read_view`); one that asks Prefect itself has
them from the functions of the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from types import NoneType
from typing import Any, cast, get_args, get_origin, get_type_hints

from athanore.models import Quota, Task
from athanore.services.showing.route_views import ScheduleView


class Kind(StrEnum):
    """What is the matter."""

    ORPHAN = "orphan"
    """A task that an agent had claimed, and of which Prefect knows no run."""

    CANCELLED = "cancelled"
    """A task whose run was cancelled, and which was left in progress."""

    GOES_ROUND = "goes-round"
    """A task that came back to its route more often than `max_rounds`."""

    NOT_PUBLISHED = "not-published"
    """A task whose branch is published only after a person has looked at it."""

    QUESTION = "question"
    """A question of an agent that nobody has answered."""

    MAX_REACTIONS = "max-reactions"
    """A task whose pull request failed again after `max_reactions`."""

    HELD = "held"
    """A task that has no agent, because a function of the app's code failed on it, or because the
    board has refused its claim twice."""

    BROKEN_ENTRY = "broken-entry"
    """A card that cannot be read, and is left alone."""

    HALF_PAUSED = "half-paused"
    """A route of which only the polls or only the agents are paused."""

    PAUSED_ITSELF = "paused-itself"
    """A route that paused itself, because its set-up or its board is at fault."""

    NO_HOST = "no-host"
    """A route whose tasks no worker that lives takes."""

    NOT_POLLED = "not-polled"
    """Routes whose queue nothing has looked at for minutes, although nobody has paused them."""

    PAUSED_POOL = "paused-pool"
    """The work pool of the agents is paused, and with it all routes."""


@dataclass(frozen=True, slots=True)
class NeedsPerson:
    """One matter: what is so, and what mends it, which is a command where one does."""

    kind: Kind
    says: str
    mend: str
    task_id: str | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True)
class SeenBy:
    """Whose agent has told something; empty for what was noted without it."""

    app: str
    route: str
    host: str


@dataclass(frozen=True, slots=True)
class ProviderLimit:
    """A usage limit of an account at its provider that is reached, or near.

    `account` is its kind and the beginning of a digest: nobody can use it. `until` is when agents
    start again, or the limit is reset. `used` is how much of it is used, from 0 to 1; None if
    nobody has said so.
    """

    account: str
    kind: str
    reached: bool
    until: datetime | None
    used: float | None
    seen_by: SeenBy

    def in_words(self) -> str:
        """What people read of it, as a sentence."""
        name = f"The {self.kind} limit" if self.kind else "The usage limit"
        if self.reached:
            said = f"{name} of {self.account} is reached; its agents go on at"
            return f"{said} {self.until:%Y-%m-%d %H:%M} UTC."
        share = "nearly all" if self.used is None else f"{self.used * 100:.0f} %"
        again = f"; it is reset at {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"{name} of {self.account}: {share} is used{again}."


@dataclass(frozen=True, slots=True)
class QuestionView:
    """A question of an agent; `state` is `pending`, `answered`, `expired` or `withdrawn`.

    `answer` is a text, or what `answer_schema` asks for; `default` is the answer after
    `expires_at`. `reason` says why there is no answer. Of an approval (`is_approval`) the run
    itself asks, and only operators answer; `commit` is what is to be published, if anything.
    """

    id: str
    task_id: str
    run_id: str
    state: str
    question: str
    choices: tuple[str, ...]
    answer_schema: Any
    asked_at: datetime
    expires_at: datetime | None
    default: str | None
    answer: Any
    answered_by: str
    reason: str
    is_approval: bool
    commit: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that was given up: in a dead-letter queue, or left in progress.

    `route`, `attempts` and what follows are None or empty for a task that a person put there.
    """

    task_id: str
    task_name: str
    queue_name: str
    route: str | None
    reason: str
    attempts: int | None
    last_output: str
    since: datetime | None
    run_id: str | None
    run_url: str | None


@dataclass(frozen=True, slots=True)
class RunView:
    """One agent run; `due` is when a waiting one may start, None once it works or is over.

    `last_line` is what the log of one that works said last. `waits_for` says in an overview what
    one waits for that does not work, and `until` when that ends by itself, where it is known.
    """

    run_id: str
    name: str
    task_id: str | None
    route: str
    state: str
    attempt: int
    since: datetime | None
    due: datetime | None
    worker: str | None
    message: str
    last_line: str
    url: str
    waits_for: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotStarted:
    """A task in a queue of a route, of which there is no run: what it waits for, and until when."""

    task_id: str
    task_name: str
    queue_name: str
    route: str | None
    waits_for: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route; `paused` names its paused parts (`polls`, `agents`), `tasks` what is queued.

    `pause_reason` says why it paused itself. `tasks` is None if the board did not answer.
    `source` is `code` or `api`; `changed` names the options of a route in the code that were
    changed over HTTP, until the next deploy.
    """

    name: str
    queue_name: str
    source: str
    changed: tuple[str, ...]
    deployed: bool
    paused: tuple[str, ...]
    pause_reason: str | None
    tasks: int | None
    waiting: int
    working: int
    retrying: int


@dataclass(frozen=True, slots=True)
class Overview:
    """An app as a whole; `limit` is that of the agents' pool, None for none.

    `board_error` says why the numbers of tasks are missing, and what tasks need; `board_quotas`
    what the board's server lets its account ask; `provider_limits` which usage limits are reached
    or near. `not_started` are the first 200 tasks that wait without a run.
    """

    app: str
    ui_url: str
    deployed_versions: tuple[str, ...]
    limit: int | None
    working: int
    workers: tuple[str, ...]
    routes: tuple[RouteView, ...]
    runs: tuple[RunView, ...]
    dead_letters: tuple[DeadLetter, ...] | None
    needs_person: tuple[NeedsPerson, ...]
    board_error: str | None
    board_quotas: tuple[Quota, ...] = ()
    provider_limits: tuple[ProviderLimit, ...] = ()
    schedules: tuple[ScheduleView, ...] = ()
    not_started: tuple[NotStarted, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueSize:
    """A queue of the board, and how many tasks are in it."""

    name: str
    task_count: int


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task of a list, and the run that works on it or waits to; None if there is none.

    `waits_for` says what it waits for, and `until` when that ends by itself, where it is known; it
    is "" for a task that an agent works on, and for one that is in no queue of a route.
    """

    task: Task
    run: RunView | None
    waits_for: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class WholeTask:
    """A task, whole, its newest runs, the newest first, and what it waits for; see `OpenTask`."""

    task: Task
    runs: tuple[RunView, ...]
    waits_for: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a run's log; `level` is a number of the standard library's."""

    id: str
    timestamp: datetime
    level: int
    message: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some lines of the log of one run, the oldest first, and how the run was after they were read.

    Attributes:
        is_over: nothing more is written but what is under way.
    """

    run_id: str
    lines: tuple[LogLine, ...]
    state: str
    message: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a task is where it is; see `athanore.services.status.explaining.Explanation`."""

    task_id: str
    task_name: str
    queue_name: str
    route: str | None
    reason: str
    until: datetime | None
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker of agents.

    Attributes:
        name: how runs and these functions name it.
        host: its host's name; "" if it has not said so.
        labels: what kind of host it is on.
        agents: how many agents it has, by what Prefect says of the runs.
        limit: how many it takes at once; None for no limit of its own.
        version: of the app's code that it has; "" if it has not said so.
        started_at: when it began; None if it has not said so.
        last_seen: its last heartbeat.
        clock_offset: seconds that its host's clock is ahead of Prefect's.
        state: `ready`, `draining`, `drained` (it has no agent any more), `full` or `lost`.
        says: why, in words; "" where there is nothing to say.
    """

    name: str
    host: str
    labels: tuple[str, ...]
    agents: int
    limit: int | None
    version: str
    started_at: datetime | None
    last_seen: datetime | None
    clock_offset: float
    state: str
    says: str


def origin(source: str, changed: Sequence[str]) -> str:
    """What is not the code's about a route, in words: that it was made, or changed, over HTTP."""
    if source == "api":
        return "made over HTTP"
    return f"changed over HTTP: {', '.join(changed)}" if changed else ""


def read_view[T](kind: type[T], value: Any) -> T:
    """Make a value of one of these classes, or of a tuple of them, from its JSON.

    Raises:
        KeyError, TypeError, ValueError: it is not the JSON of such a value.
    """
    return cast(T, _read(kind, value))


def _read(kind: Any, value: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if NoneType in arguments:
        rest = next(a for a in arguments if a is not NoneType)
        return None if value is None else _read(rest, value)
    if origin is tuple:
        return tuple(_read(arguments[0], v) for v in cast(Sequence[Any], value))
    if kind is datetime:
        return datetime.fromisoformat(value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(value)
    if is_dataclass(cast(object, kind)):
        hints = get_type_hints(cast(Any, kind))
        return cast(Any, kind)(
            **{f.name: _read(hints[f.name], value[f.name]) for f in fields(cast(Any, kind))}
        )
    return value
