"""One attempt of an agent: its prompt, environment and adapter, and the watch for stalls.

It is a Prefect task, so that Prefect shows its state and duration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any, cast

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.states import Completed, Failed

from athanore.agent_adapters.base import AgentJob, RouteView
from athanore.agent_adapters.common.output import TAIL_LINES
from athanore.agent_adapters.given.sessions import Session
from athanore.agent_adapters.given.waits import TimeLimit
from athanore.errors import (
    BoardError,
    ConfigurationError,
    PrefectUnavailableError,
    SpoiledFolderError,
    WorkspaceError,
)
from athanore.flows import provider_limits
from athanore.flows.attempts import answers, spans
from athanore.flows.attempts.booking import Booking
from athanore.flows.attempts.budgets import Purse
from athanore.flows.attempts.deployed import AttemptDeployments
from athanore.flows.attempts.expecting import Expectation
from athanore.flows.attempts.results import (
    hopeless,
    no_folder,
    not_the_agents,
    spoiled_folder,
)
from athanore.flows.attempts.transcript import LINE_WIDTH, Transcript
from athanore.flows.attempts.working_folder import WorkingFolder
from athanore.flows.retry import PatientBoard
from athanore.logs import Log
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind
from athanore.models import Task as BoardTask
from athanore.processes.supervisor import STOP_GRACE
from athanore.routing.outputs import instructions
from athanore.routing.routes import Route
from athanore.runs.events import activity
from athanore.runs.kept import pulls
from athanore.runs.kept.pulls import OpenPull
from athanore.runs.kept.questions import Question
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import PrefectState
from athanore.runtime.apps import App
from athanore.runtime.background import kept_up
from athanore.runtime.leases.local_runs import RunControl, StopReason
from athanore.runtime.secrets.environment import agent_environment, secret_variables
from athanore.services.pull_requests import reactions
from athanore.texts import cut, cut_lines

# The adapter enforces the timeout, and then stops the agent and reads its last words. Ours is a net
# for adapters that do not: were it any closer, both would be lost.
_LAST_WORDS = timedelta(seconds=5)
_TIMEOUT_MARGIN = timedelta(seconds=2)
_LONGEST_REASON = 2000
_OF_PREFECT = (PrefectUnavailableError, PrefectException, httpx.HTTPError)


@task(name="attempt", persist_result=False, cache_policy=NO_CACHE, retries=0)
async def attempt_task(
    work: Callable[[], Awaitable[AgentResult]], keep: Callable[[AgentResult], None]
) -> State[None]:
    """Work, keep what came of it, and end as that says."""
    started = monotonic()
    result = await work()
    keep(result)
    took = f"{monotonic() - started:.1f} s"
    match result.outcome:
        case AgentOutcome.SUCCEEDED:
            return Completed(message=f"finished after {took}")
        case AgentOutcome.TIMED_OUT:
            return Failed(name=PrefectState.TIMED_OUT, message=f"{result.reason} after {took}")
        case _:
            return Failed(message=f"{result.reason} after {took}")


class AgentAttempt:
    """Runs the agent of a claimed task once.

    Attributes:
        prompt: what the agent was told, once it was started.
        waits_for: what it has asked people before it ended well, and nobody has answered yet.
    """

    def __init__(
        self,
        client: PrefectRunStore,
        app: App,
        route: Route,
        run_log: RunLog,
        handle: RunControl,
        purse: Purse,
        log: Log,
    ) -> None:
        self.prompt = ""
        self._client = client
        self._app = app
        self._route = route
        self._run_log = run_log
        self._handle = handle
        self._purse = purse
        self._log = log
        self.waits_for: Question | None = None
        self._pull: OpenPull | None = None
        self._folder = WorkingFolder(app, route, log)
        self._expectation = Expectation(app, route, run_log, log)

    async def perform(
        self, claimed: BoardTask, token: str, transcript: Transcript
    ) -> AgentResult | None:
        """Run the agent once, as a Prefect task; None when it was stopped.

        Args:
            token: what the agent proves with at the task API who it is.
            transcript: what the agent does is told there; it is closed in the end.
        """
        self._handle.on_activity = transcript.touch
        transcript.emit(
            AgentEvent(
                EventKind.CLAIMED,
                {"queue": self._route.queue_name, "attempt": self._run_log.attempt},
            )
        )
        result: AgentResult | None = None
        try:
            if self._route.reactions:
                prefect = self._run_log.prefect
                self._pull = await pulls.of_task(prefect, self._app.name, claimed.id)
            renew = self._pull is not None and self._pull.conflicts
            opening = self._folder.open(
                claimed, self._run_log.attempt, transcript, renew_base=renew
            )
            await self._handle.supervise(asyncio.create_task(opening))
            await self._expectation.begins(claimed)
            ended = await self._run_agent(claimed, token, transcript)
            if ended is not None and ended.succeeded:
                self.waits_for = await answers.waited_for(self._app, self._route, self._run_log)
            if ended is not None and ended.succeeded and self.waits_for is None:
                checking = self._check(ended, claimed, transcript)
                ended = await self._handle.supervise(asyncio.create_task(checking))
            result = ended
        except WorkspaceError as exc:
            result = self._redacted(no_folder(exc))
        except _OF_PREFECT:
            raise  # the worker stops, or the run is not ours any more
        except Exception as exc:
            self._log.exception("The attempt failed.", extra={"action": "attempt_failed"})
            result = self._redacted(not_the_agents(exc))
        except asyncio.CancelledError:
            if self._handle.reason is None:
                raise
        finally:
            transcript.close()
            await self._folder.close(result.outcome if result else None)
        if result is None:
            return None
        return replace(result, usage=self._purse.account(result.usage or transcript.usage))

    async def _check(
        self, result: AgentResult, claimed: BoardTask, transcript: Transcript
    ) -> AgentResult:
        """Check the work of an agent that has succeeded; that it passed is said on the card."""
        try:
            found = await self._expectation.judged(result, claimed)
            if found.succeeded:
                found = await self._folder.check(found, claimed, self._run_log.attempt, transcript)
            if found.succeeded:
                found = await self._expectation.publishable(found, claimed)
        except SpoiledFolderError as exc:
            found = spoiled_folder(result, exc)
        except WorkspaceError as exc:  # of the host
            found = replace(no_folder(exc), usage=result.usage)
        if found.succeeded and self._route.check:
            try:
                passed = f"Checked: {', '.join(self._route.check)}."
                board = PatientBoard(
                    self._app.board, self._app.margins, self._log, self._app.margins.board
                )
                await board.say(claimed.id, self._app.redactor.text(passed))
            except BoardError as exc:
                self._log.warning("No comment: %s", exc, extra={"action": "comment_refused"})
        return self._redacted(found)

    async def _run_agent(
        self, claimed: BoardTask, token: str, transcript: Transcript
    ) -> AgentResult | None:
        results: list[AgentResult] = []
        tried = self._tried(partial(self._work_redacted, claimed, token, transcript), results)
        work = asyncio.create_task(tried)
        watch = partial(self._watch_for_stall, transcript)
        stall_watch = asyncio.create_task(kept_up("The watch for stalls", watch))
        time_watch = asyncio.create_task(kept_up("The watch for the time", self._watch_time))
        pause = self._app.margins.booking
        note_near = partial(
            provider_limits.note_near, self._run_log.prefect, self._app, self._route
        )
        booking = Booking(self._purse, self._run_log, self._handle, transcript, pause, note_near)
        try:
            async with booking:
                try:
                    state = await self._handle.supervise(work)
                finally:  # before the costs are booked, which waits for a Prefect that is away
                    stall_watch.cancel()
                    time_watch.cancel()
        except asyncio.CancelledError:
            if self._handle.reason is StopReason.STALLED:
                return cut_short(AgentOutcome.STALLED, self._handle.message, transcript)
            if self._handle.reason is StopReason.TIMED_OUT:
                return cut_short(AgentOutcome.TIMED_OUT, self._handle.message, transcript)
            if booking.stopped:
                reason = self._handle.message
                return booking.concluded(cut_short(AgentOutcome.FAILED, reason, transcript))
            raise
        if results:
            return booking.concluded(results[0])
        return AgentResult(AgentOutcome.FAILED, state.message or "unknown failure")

    def _tried(
        self, work: Callable[[], Awaitable[AgentResult]], results: list[AgentResult]
    ) -> Coroutine[Any, Any, State[None]]:
        """The attempt as a task run of Prefect's, which adds its result to a list."""
        attempt = attempt_task.with_options(name=f"attempt {self._run_log.attempt}")
        run_attempt = cast(Callable[..., Coroutine[Any, Any, State[None]]], attempt)
        return run_attempt(work, results.append, return_state=True)

    def _margin(self) -> timedelta:
        """How much longer than its timeout an attempt may take until it is over."""
        try:
            agent = self._app.dispatcher.agent_for(self._route)
        except ConfigurationError:
            agent = None
        grace = getattr(agent, "stop_grace", None)
        grace = grace if isinstance(grace, timedelta) else STOP_GRACE
        return grace + _LAST_WORDS + _TIMEOUT_MARGIN

    async def _work(self, claimed: BoardTask, token: str, transcript: Transcript) -> AgentResult:
        route, attempt = self._route, self._run_log.attempt
        feedback = reactions.told(self._pull, self._folder.workspace)
        try:
            prompt = await route.make_prompt(claimed, attempt, self._folder.workspace)
            prompt = _with_check(prompt, self._run_log.record.check)
            here = self._folder.workspace
            prompt = "\n\n".join(p for p in (prompt, *(here.notes if here else ()), feedback) if p)
            if route.output is not None:
                told = instructions(route.output, self._app.api_url, claimed.id)
                prompt = f"{prompt}\n\n{told}"
            said = await answers.answered(self._run_log)
            prompt = self.prompt = f"{prompt}\n\n{said}" if said else prompt
        except Exception as exc:
            self._log.exception("The prompt function failed.", extra={"action": "prompt_failed"})
            return hopeless(f"prompt function raised {type(exc).__name__}: {exc}")
        try:
            agent = self._app.dispatcher.agent_for(route)
            command = route.words()
        except (ConfigurationError, ValueError) as exc:
            return hopeless(str(exc))
        job = AgentJob(
            task=claimed,
            # pyright does not see what the descriptors of a route give.
            route=cast(RouteView, route),
            prompt=prompt,
            attempt=attempt,
            timeout=route.timeout,
            env=agent_environment(
                route,
                claimed,
                attempt=attempt,
                api_url=self._app.api_url,
                token=token,
                secrets=secret_variables(self._app.dispatcher),
                workspace=self._folder.workspace,
            ),
            cwd=self._folder.path,
            emit=transcript.emit,
            alive=transcript.touch,
            command=command,
            budget=self._purse.left,
            waits=self._handle.waits,
            ask=answers.Asking(self._app, route, self._run_log, transcript.touch),
            session=Session.parse(self._run_log.record.session),
            keep=self._run_log.keep_session,
            deployments=AttemptDeployments(
                self._client,
                self._app.clock,
                self._run_log.run,
                self._run_log.record.starts,
            ),
        )
        try:
            return await agent.run(job)
        except Exception as exc:
            self._log.exception(
                "%s failed.", type(agent).__name__, extra={"action": "agent_adapter_failed"}
            )
            reason = f"{type(agent).__name__} raised {type(exc).__name__}: {exc}"
            return AgentResult(AgentOutcome.FAILED, reason)

    async def _work_redacted(
        self, claimed: BoardTask, token: str, transcript: Transcript
    ) -> AgentResult:
        """What is said of the attempt goes to comments, states, labels and its span."""
        result: AgentResult | None = None
        try:
            result = self._redacted(await self._work(claimed, token, transcript))
            return result
        finally:
            usage = self._purse.account((result and result.usage) or transcript.usage)
            spans.describe(self._purse.meter, usage, result)

    def _redacted(self, result: AgentResult) -> AgentResult:
        clean = self._app.redactor
        fault = result.fault
        return replace(
            result,
            fault=None if fault is None else replace(fault, text=clean.text(fault.text)),
            reason=cut(clean.text(result.reason), _LONGEST_REASON),
            output_tail=cut_lines(clean.text(result.output_tail), LINE_WIDTH, TAIL_LINES),
            usage=clean.value(dict(result.usage)),
        )

    async def _has_called(self, transcript: Transcript) -> bool:
        """Tell whether the agent has called a task API of another process since it was heard."""
        heard = transcript.last_activity
        for pause in (0.0, activity.LAG.total_seconds()):
            await asyncio.sleep(pause)
            ago = await activity.since_last_call(
                self._client, self._run_log.run.id, self._app.clock
            )
            if ago is not None:
                transcript.touch(ago)
            if transcript.last_activity > heard:
                return True
        return False

    async def _watch_time(self) -> None:
        """Stop an agent whose adapter does not keep to its timeout."""
        if (limit := self._route.timeout) is None:
            return
        await TimeLimit(limit + self._margin(), self._handle.waits).over()
        self._handle.stop(StopReason.TIMED_OUT, "timed out")

    async def _watch_for_stall(self, transcript: Transcript) -> None:
        limit = self._route.stall_timeout
        if limit is None:
            return
        while True:
            await transcript.silence(limit)
            if self._handle.waits.is_waiting:
                transcript.touch()
                continue
            if self._app.local_runs.api_is_here() or not await self._has_called(transcript):
                break
        self._handle.stop(
            StopReason.STALLED, f"stalled: nothing heard for {limit.total_seconds():g} s"
        )


def _with_check(prompt: str, check: str) -> str:
    """A prompt, with what the work of the last attempt did not pass."""
    if not check:
        return prompt
    quoted = "\n".join(f"    {line}" for line in check.splitlines())
    return f"{prompt}\n\nThe work of the last attempt did not pass its check:\n\n{quoted}"


def cut_short(outcome: AgentOutcome, reason: str, transcript: Transcript) -> AgentResult:
    """The result of an attempt whose adapter was stopped before it could return one."""
    return AgentResult(outcome, reason, output_tail=transcript.last_words(), usage=transcript.usage)
