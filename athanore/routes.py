"""A route: which queue is watched, what is started for its tasks, and what happens then."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from athanore.errors import RouteError
from athanore.models import Task
from athanore.texts import operand

if TYPE_CHECKING:
    from athanore.agent_adapters.base import AgentAdapter

type PromptFunction = Callable[..., str | Awaitable[str]]


class _Sentinel(Enum):
    INHERIT = "INHERIT"
    NO_DEAD_LETTER = "NO_DEAD_LETTER"

    def __repr__(self) -> str:
        return self.value


type Inherit = Literal[_Sentinel.INHERIT]
type NoDeadLetter = Literal[_Sentinel.NO_DEAD_LETTER]

INHERIT: Final = _Sentinel.INHERIT
"""The value of an option that was not given: the dispatcher's, or the settings'."""

QUEUE_OPTIONS = ("queue_name", "in_progress_queue", "done_queue", "on_cancel", "dead_letter_queue")
"""The options of a route that name queues of the board."""

NO_DEAD_LETTER: Final = _Sentinel.NO_DEAD_LETTER
"""Switches a global `dead_letter_queue` off for one route."""


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


@dataclass(frozen=True, slots=True)
class Route:
    """One watched queue and what is done with its tasks; all options are resolved.

    Made by `AgentDispatcher.route`; `docs/routes.md` explains every option.

    Raises:
        RouteError: an option is wrong; the message names the route, the option and the value.
    """

    queue_name: str
    prompt: PromptFunction
    in_progress_queue: str = "In Progress"
    command: str = ""
    args: tuple[str, ...] = ()
    agent: AgentAdapter | None = None
    poll_interval: timedelta = timedelta(seconds=30)
    timeout: timedelta | None = None
    stall_timeout: timedelta | None = None
    priority: int | None = None
    max_concurrent: int | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    dead_letter_queue: str | None = None
    done_queue: str | None = None
    on_cancel: str | None = None
    pause_after_failures: int = 5
    resume_after: timedelta | None = timedelta(minutes=15)
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        def check(ok: bool, option: str, value: object, rule: str) -> None:
            if not ok:
                raise RouteError(f"Route {self.queue_name!r}: {option}={value!r} {rule}.")

        def positive(value: timedelta | None) -> bool:
            return value is None or value > timedelta(0)

        if not self.queue_name.strip():
            raise RouteError(f"A route needs a queue to watch; queue_name={self.queue_name!r}.")
        check(
            bool(self.in_progress_queue.strip()),
            "in_progress_queue",
            self.in_progress_queue,
            "must not be empty",
        )
        for option in ("in_progress_queue", "dead_letter_queue", "done_queue", "on_cancel"):
            value = getattr(self, option)
            check(
                value != self.queue_name,
                option,
                value,
                "is the queue that the route watches; its tasks would be dispatched in circles",
            )
        for option in ("poll_interval", "timeout", "stall_timeout", "resume_after"):
            value = getattr(self, option)
            check(positive(value), option, _seconds(value), "must be more than 0 seconds")
        check(
            self.max_concurrent is None or self.max_concurrent >= 1,
            "max_concurrent",
            self.max_concurrent,
            "must be at least 1",
        )
        check(
            self.retry.max_retries >= 0, "max_retries", self.retry.max_retries, "must be 0 or more"
        )
        check(
            self.retry.delay is None or self.retry.delay >= timedelta(0),
            "retry_delay",
            _seconds(self.retry.delay),
            "must be 0 seconds or more",
        )
        check(self.retry.backoff >= 1, "retry_backoff", self.retry.backoff, "must be at least 1")
        check(
            positive(self.retry.max_delay),
            "retry_max_delay",
            _seconds(self.retry.max_delay),
            "must be more than 0 seconds",
        )
        check(0 <= self.retry.jitter <= 1, "retry_jitter", self.retry.jitter, "must be from 0 to 1")
        check(
            self.retry.max_crashes >= 0, "max_crashes", self.retry.max_crashes, "must be 0 or more"
        )
        check(
            self.pause_after_failures >= 1,
            "pause_after_failures",
            self.pause_after_failures,
            "must be at least 1",
        )

    def format_command(self, prompt: str) -> list[str]:
        """Build the argument list of the agent's program: command, args, prompt. No shell is used.

        A command of several words is split as a shell would split it. A prompt that begins with a
        dash gets a newline before it, so that it is no option, unless the word before it is `--`.
        """
        words = self.words()
        return [*words, prompt if words[-1:] == ("--",) else operand(prompt)]

    def words(self) -> tuple[str, ...]:
        """The agent's program and its arguments, without the prompt; empty without a command.

        Raises:
            ValueError: the command has a quote that is not closed.
        """
        program = shlex.split(self.command)
        return (*program, *self.args) if program else ()

    async def make_prompt(self, task: Task, attempt: int) -> str:
        """Call the prompt function with what its signature asks for.

        The function takes the task's id and name, and may take `task` and `attempt` beside them.
        A plain function is called in a thread, so that it never stalls the worker.

        Raises:
            Exception: whatever the function raises; TypeError if it returns no string.
        """
        import asyncio

        kwargs: dict[str, Any] = {}
        parameters = list(inspect.signature(self.prompt).parameters.values())
        for extra in parameters[2:]:
            if extra.name == "attempt":
                kwargs["attempt"] = attempt
            elif extra.name == "task":
                kwargs["task"] = task
        prompt: object
        if inspect.iscoroutinefunction(self.prompt):
            prompt = await self.prompt(task.id, task.name, **kwargs)
        else:
            prompt = await asyncio.to_thread(self.prompt, task.id, task.name, **kwargs)
            if inspect.isawaitable(prompt):  # an object whose __call__ is async
                prompt = await prompt
        if not isinstance(prompt, str):
            raise TypeError(
                f"the prompt function of route {self.queue_name!r} must return a string, "
                f"not {type(prompt).__name__}"
            )
        return prompt

    def describe(self) -> str:
        """Say in a line what the route starts, for descriptions and tables."""
        if self.agent is not None:
            return type(self.agent).__name__
        return shlex.join([*shlex.split(self.command), *self.args]) or "no command"


def ranked(routes: Iterable[Route]) -> list[Route]:
    """Put routes in the order in which slots are given to them: by priority, then as they came.

    Routes without a priority come after those with one.
    """
    return sorted(routes, key=lambda r: (r.priority is None, r.priority or 0))


def check_beside(route: Route, others: Iterable[Route]) -> None:
    """Refuse a route that takes tasks which another one is at work on, or the other way round.

    Raises:
        RouteError: a queue that one watches is where the other puts what it works on.
    """
    for other in others:
        for one, two in ((route, other), (other, route)):
            if one.in_progress_queue == two.queue_name:
                raise RouteError(
                    f"Route {one.queue_name!r}: in_progress_queue={one.in_progress_queue!r} "
                    "is a queue that another route watches; its tasks would be claimed twice."
                )


def check_prompt_function(queue_name: str, function: PromptFunction) -> None:
    """Refuse a prompt function whose signature cannot be called with (task_id, task_name).

    Raises:
        RouteError: it takes fewer than two arguments, or requires ones that nobody fills.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return
    name = getattr(function, "__name__", repr(function))
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    unknown = [
        p.name
        for p in parameters[2:]
        if p.name not in ("task", "attempt")
        and p.default is p.empty
        and p.kind is not p.VAR_KEYWORD
    ]
    if len(positional) < 2 or unknown:
        raise RouteError(
            f"Route {queue_name!r}: {name}{inspect.signature(function)} must take "
            "(task_id, task_name), and may take task and attempt beside them."
        )


def _seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()
