"""An agent without a process, that does what a script says: for tests and demos.

    agent = ScriptedAgent([Say("hello"), Fail("exit code 2")], [Say("again"), Succeed()])

fails in the first attempt at a task and succeeds in the second and all further ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from athanore.agent_adapters.base import AgentJob, Meter
from athanore.agent_adapters.common.output import Tail
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind


@dataclass(frozen=True, slots=True)
class Say:
    """Put out one line."""

    text: str
    stream: Literal["stdout", "stderr"] = "stdout"


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell an event of any kind; the data of a COST event become the result's usage."""

    event: AgentEvent


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on after this time, or when this event is set; without either, never."""

    until: timedelta | asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """End the attempt as failed."""

    reason: str = "exit code 1"
    exit_code: int | None = 1
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Succeed:
    """End the attempt as succeeded, as the end of a script does."""

    usage: dict[str, Any] = field(default_factory=dict[str, Any])


type Step = Say | Emit | Wait | Fail | Succeed
type Script = Sequence[Step] | Callable[[AgentJob], Awaitable[AgentResult | None]]


class ScriptedAgent:
    """Plays one script per attempt; the last one serves all attempts that follow.

    A script is a list of steps, or an async function that gets the job and returns a result (None
    is success). Timeouts and cancellation work as with any agent. `jobs` lists what was run.
    """

    meter = Meter("ScriptedAgent", cost=True, tokens=True)
    """What its COST events tell."""

    def __init__(self, *scripts: Script) -> None:
        self.jobs: list[AgentJob] = []
        self._scripts: tuple[Script, ...] = scripts or ((),)

    async def run(self, job: AgentJob) -> AgentResult:
        """Run one attempt; see `AgentAdapter.run`."""
        self.jobs.append(job)
        script = self._scripts[min(job.attempt, len(self._scripts)) - 1]
        tail = Tail()

        def emit(event: AgentEvent) -> None:
            if event.kind is EventKind.OUTPUT:
                tail.add(str(event.data.get("text", "")))
            job.emit(event)

        emit(AgentEvent(EventKind.STARTED, {"pid": None, "command": type(self).__name__}))
        heard = replace(job, emit=emit)
        timer: asyncio.Timeout | None = None
        try:
            async with job.time_limit().kept() as timer:
                result = await (script(heard) if callable(script) else _play(script, heard))
        except TimeoutError:
            if timer is None or not timer.expired():  # the script's own
                raise
            result = AgentResult(AgentOutcome.TIMED_OUT, "timed out")
        result = result or AgentResult(AgentOutcome.SUCCEEDED)
        return result if result.output_tail else replace(result, output_tail=str(tail))


async def _play(steps: Iterable[Step], job: AgentJob) -> AgentResult:
    usage: dict[str, Any] = {}
    for step in steps:
        match step:
            case Say():
                data = {"stream": step.stream, "text": step.text}
                job.emit(AgentEvent(EventKind.OUTPUT, data))
            case Emit():
                job.emit(step.event)
                if step.event.kind is EventKind.COST:
                    usage = dict(step.event.data)
            case Wait():
                await _wait(step.until)
            case Fail():
                return AgentResult(
                    AgentOutcome.FAILED,
                    step.reason,
                    step.exit_code,
                    retryable=step.retryable,
                    usage=usage,
                )
            case Succeed():
                usage |= step.usage
                break
    return AgentResult(AgentOutcome.SUCCEEDED, exit_code=0, usage=usage)


async def _wait(until: timedelta | asyncio.Event | None) -> None:
    if isinstance(until, timedelta):
        await asyncio.sleep(until.total_seconds())
    else:
        await (until or asyncio.Event()).wait()
