"""`FlowAgent`: a run of a Prefect deployment is the agent.

It knows Prefect by a port only, which whoever starts the attempt hands in with the job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from athanore.agent_adapters.base import AgentJob, Meter
from athanore.agent_adapters.common.output import Tail
from athanore.agent_adapters.common.program import not_started
from athanore.agent_adapters.given.deployments import DeployedRun, Deployments
from athanore.errors import ConfigurationError, DispatchError
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, Fault, FaultKind
from athanore.seen_through import seen_through

_CANCELLED_YET = 0.2
_LAST_LINES = 2.0  # seconds in which Prefect gets the last lines of a run that has ended


class FlowAgent:
    """Starts a run of a Prefect deployment for each attempt, and waits for its end.

    What the run logs is the agent's output. The run is cancelled with the attempt: how long it
    takes to stop is a matter of whoever runs it. It is no subflow of the task's run: another
    attempt is another run.

    Args:
        deployment: its name in Prefect, as `flow/deployment`.
        parameters: of the run, beside those of the deployment; or a function that makes them of the
            job (`lambda job: {"task_id": job.task.id, "prompt": job.prompt}`).

    Raises:
        ConfigurationError: the name is none.
    """

    look_every: ClassVar[timedelta] = timedelta(seconds=1)
    """The pause between two looks at the run."""

    stop_grace: ClassVar[timedelta] = timedelta(seconds=10)
    """How long a run that is cancelled is waited for."""

    def __init__(
        self,
        deployment: str,
        parameters: Mapping[str, Any] | Callable[[AgentJob], Mapping[str, Any]] | None = None,
    ) -> None:
        if len([part for part in deployment.split("/") if part.strip()]) != 2:
            raise ConfigurationError(
                f"FlowAgent({deployment!r}): name a deployment of Prefect as 'flow/deployment'."
            )
        self._deployment = deployment
        self._parameters = parameters

    @property
    def meter(self) -> Meter:
        """Nothing is known of its costs; see `SupportsMeter`."""
        return Meter(self._deployment)

    async def run(self, job: AgentJob) -> AgentResult:
        """Run one attempt; see `AgentAdapter.run`."""
        deployments = job.deployments
        if deployments is None:
            return not_started("a FlowAgent works in a worker of Athanore only")
        given = self._parameters(job) if callable(self._parameters) else self._parameters
        attempt = _Attempt(deployments, job)
        timer: asyncio.Timeout | None = None
        try:
            async with job.time_limit().kept() as timer:
                try:
                    await attempt.start(self._deployment, given or {})
                    return await attempt.follow(self.look_every.total_seconds())
                finally:
                    await seen_through(asyncio.ensure_future(attempt.end(self.stop_grace)))
        except TimeoutError:
            if timer is None or not timer.expired():
                raise
            return AgentResult(AgentOutcome.TIMED_OUT, "timed out", output_tail=str(attempt.tail))
        except DispatchError as exc:
            reason = str(exc).rstrip(".")
            return not_started(reason, fault=Fault(FaultKind.ENVIRONMENT, text=reason))
        except ValueError as exc:
            return not_started(f"the deployment {self._deployment!r} refuses it: {exc}")


class _Attempt:
    """One run, from its start to its end."""

    def __init__(self, deployments: Deployments, job: AgentJob) -> None:
        self.tail = Tail()
        self._deployments = deployments
        self._job = job
        self._seen = 0
        self._run: DeployedRun | None = None
        self._starting: asyncio.Future[DeployedRun] | None = None

    async def start(self, deployment: str, parameters: Mapping[str, Any]) -> None:
        self._starting = asyncio.ensure_future(self._deployments.start(deployment, parameters))
        self._run = run = await asyncio.shield(self._starting)
        command = f"{deployment} {run.url}"
        self._job.emit(AgentEvent(EventKind.STARTED, {"pid": None, "command": command}))

    async def follow(self, pause: float) -> AgentResult:
        """Wait for the end of the run; what it logs is put out meanwhile."""
        assert self._run is not None, "it was started"
        state = ""
        while self._run.outcome is None:
            await self._say_lines()
            if self._run.state != state:
                state = self._run.state
                told = f"The run of the deployment is {state}."
                self._job.emit(AgentEvent(EventKind.PROGRESS, {"text": told}))
            await asyncio.sleep(pause)
            self._run = await self._deployments.look(self._run.id)
        if not await self._say_lines():
            await asyncio.sleep(_LAST_LINES)
            await self._say_lines()
        run, tail = self._run, str(self.tail)
        if run.outcome is AgentOutcome.SUCCEEDED:
            return AgentResult(AgentOutcome.SUCCEEDED, output_tail=tail)
        reason = " ".join(f"its run is {run.state}: {run.message}".split()).rstrip(": ")
        return AgentResult(run.outcome or AgentOutcome.FAILED, reason, output_tail=tail)

    async def end(self, grace: timedelta) -> None:
        """Cancel the run if it has not ended, and wait for a while until it has."""
        if self._starting is None:
            return
        if self._run is None:
            with suppress(Exception):  # which whoever started it has heard of
                self._run = await self._starting
        if self._run is None or self._run.outcome is not None:
            return
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self._deployments.cancel(self._run.id)
                while self._run.outcome is None:
                    await asyncio.sleep(_CANCELLED_YET)
                    self._run = await self._deployments.look(self._run.id)
        except Exception as exc:
            why = "it takes too long" if isinstance(exc, TimeoutError) else str(exc)
            self._job.say(f"The end of the run {self._run.id} was not seen: {why}.", "stderr")

    async def _say_lines(self) -> bool:
        assert self._run is not None, "it was started"
        lines = await self._deployments.lines(self._run.id, self._seen)
        self._seen += len(lines)
        for line in lines:
            self.tail.add(line)
            self._job.say(line)
        return bool(lines)
