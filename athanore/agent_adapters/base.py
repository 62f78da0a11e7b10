"""The port to an agent: one protocol of one method, which owns the agent's whole life."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from athanore.agent_adapters.given.deployments import Deployments
from athanore.agent_adapters.given.sessions import Session
from athanore.agent_adapters.given.waits import TimeLimit, Waits
from athanore.budgets import Budget
from athanore.models import AgentEvent, AgentResult, EventKind, Task

type Ask = Callable[[str, tuple[str, ...]], Awaitable[str | None]]
"""Asks people a question with choices; returns the answer, None if there will be none."""


def ignore_event(event: AgentEvent) -> None:
    """Drop an event: the default of `AgentJob.emit`."""


def ignore_sign() -> None:
    """Drop a sign of life: the default of `AgentJob.alive`."""


def ignore_session(session: Session) -> None:
    """Forget a session: the default of `AgentJob.keep`."""


class RouteView(Protocol):
    """What an adapter may read of the route; kept for adapters written for 0.0.2.

    `command` is the route's command as it was written, `args` are the words after it.
    """

    @property
    def name(self) -> str: ...
    @property
    def queue_name(self) -> str: ...
    @property
    def command(self) -> str: ...
    @property
    def args(self) -> tuple[str, ...]: ...
    @property
    def timeout(self) -> timedelta | None: ...

    def format_command(self, prompt: str) -> list[str]:
        """Build the argument list of the agent's program: command, args, prompt."""
        ...


@dataclass(frozen=True, slots=True)
class AgentJob:
    """All that an adapter is told about one attempt.

    `command` is the agent's program and its arguments, word by word, without the prompt; it is
    empty for a route that has none.
    `env` is the whole environment of the agent's process: what the worker has, less the secrets,
    plus ATHANORE_* and the route's own; an adapter adds only the mark of `supervise`. `timeout`
    None means no limit. `attempt` counts from 1.
    `budget` is what the attempt may use; the engine stops it when its COST events come to that. An
    adapter may tell its program, and have it report more often.
    `deployments` starts runs of Prefect's deployments that end with the attempt; see `FlowAgent`.
    `emit` takes events from the loop's own thread; it never blocks and never raises. `alive` tells
    that the agent is at work although there is no event to tell. `session` is the last one that an
    earlier start of the same run has given to `keep`, on whichever host; an adapter goes on with it
    only where it can, and else starts anew in the same call of `run`. `waits` is the time in which
    the agent waited for a person, which does not count for `timeout`: see `time_limit`. `ask` asks
    people and waits for their answer as long as it takes; None where nobody can be asked.
    """

    task: Task
    route: RouteView
    prompt: str
    attempt: int = 1
    timeout: timedelta | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: Path | None = None
    emit: Callable[[AgentEvent], None] = ignore_event
    alive: Callable[[], None] = ignore_sign
    command: tuple[str, ...] = ()
    budget: Budget = field(default_factory=Budget)
    waits: Waits = field(default_factory=Waits)
    ask: Ask | None = None
    session: Session | None = None
    keep: Callable[[Session], None] = ignore_session
    deployments: Deployments | None = None

    def time_limit(self) -> TimeLimit:
        """How long the attempt may take from now on: `timeout`, longer by what is in `waits`."""
        return TimeLimit(self.timeout, self.waits)

    def say(self, text: str, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        """Put out words of the agent, line by line: for adapters whose agent has no output."""
        for line in text.splitlines():
            self.emit(AgentEvent(EventKind.OUTPUT, {"stream": stream, "text": line}))


@runtime_checkable
class SupportsCheck(Protocol):
    """An adapter that can tell before the first attempt that there could be none."""

    def check(self, env: Mapping[str, str], cwd: Path | None) -> str | None:
        """Say what keeps agents from being started, in a few words; None if nothing does.

        Args:
            env: the environment of the worker, with the route's own variables.
            cwd: the route's working folder.
        """
        ...


@runtime_checkable
class SupportsAccount(Protocol):
    """An adapter whose agents share a provider's account: its usage limit holds all of them."""

    def account(self, env: Mapping[str, str]) -> str:
        """Name the account, the same on every host and without a secret in it.

        Args:
            env: the environment of the worker, with the route's own variables.
        """
        ...


@dataclass(frozen=True, slots=True)
class Meter:
    """What an adapter knows of what its agents use, and tells by COST events.

    Attributes:
        agent: what the agent is called, for people: `codex`.
        cost: it tells dollars.
        tokens: it tells tokens.
        model: which model the agents use, if that is known before they start.
    """

    agent: str
    cost: bool = False
    tokens: bool = False
    model: str | None = None


@runtime_checkable
class SupportsMeter(Protocol):
    """An adapter that knows what its agents use, so that a budget can bind them."""

    @property
    def meter(self) -> Meter:
        """What it knows."""
        ...


class AgentAdapter(Protocol):
    """Runs agents. One adapter serves many attempts at once."""

    async def run(self, job: AgentJob) -> AgentResult:
        """Run one attempt from spawn to cleanup and say how it ended.

        Obligations:
        - Enforce `job.timeout` and return `TIMED_OUT` with the reason `timed out`.
        - Every return and every exception leaves no process of the agent behind, not even a
          grandchild: TERM to all of them, five seconds, KILL. `supervisor.supervise` does that,
          and sees to it that they die with a worker that is killed.
        - On `asyncio.CancelledError` (a cancelled run, a shutdown) do the same cleanup, shielded
          from further cancellations, and let the error out.
        - A failure of the agent is a result, not an exception. An exception means a bug or a
          set-up that cannot work.
        - Call `job.emit` for what the agent does: output line by line (a line over 64 KiB is cut
          and marked), tool use, cost. Memory stays bounded whatever the agent writes.
        - A COST event has the totals of this attempt so far, and an adapter that is cancelled has
          its agent say what it has spent first, if it can do so within two seconds.
        - Call `job.alive` for signs of life that are no event (a heartbeat, the progress of a
          tool). The engine stops an agent of which it hears nothing for the route's
          `stall_timeout`; an adapter has no such watch of its own.
        - Never block the event loop.
        """
        ...
