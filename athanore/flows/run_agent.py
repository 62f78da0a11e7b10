"""The agent flow: one run is one visit of a task to a route, over all its attempts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any, cast

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import AwaitingConcurrencySlot, Cancelled, Completed, Failed

from athanore import names, tokens
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.supervisor import STOP_GRACE
from athanore.background import kept_up
from athanore.environment import agent_environment
from athanore.errors import (
    AnswerLostError,
    BoardError,
    ConfigurationError,
    DispatchError,
    NotFoundError,
    PrefectUnavailableError,
    RouteError,
    TaskMovedError,
)
from athanore.flows import activity, apps, breaker, clock, control, hooks, limits, report, runs
from athanore.flows.conclusion import Conclusion
from athanore.flows.ledger import Ledger
from athanore.flows.transcript import Transcript
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind
from athanore.models import Task as BoardTask
from athanore.routes import Route
from athanore.services import tasks

# The adapter enforces the timeout, and then stops the agent and reads its last words. Prefect's own
# limit is a net for adapters that do not: were it any closer, both would be lost.
_LAST_WORDS = timedelta(seconds=5)
_TIMEOUT_MARGIN = timedelta(seconds=2)
# Until a run is offered again whose route the process that had it does not have.
_ELSEWHERE = timedelta(seconds=30)

_ENDINGS = {
    StateType.COMPLETED: EventKind.FINISHED,
    StateType.FAILED: EventKind.FAILED,
    StateType.CANCELLED: EventKind.CANCELLED,
}


@flow(
    name=names.AGENT_FLOW,
    persist_result=False,
    on_completion=[hooks.hand_on],
    on_failure=[hooks.dead_letter],
)
async def run_agent(
    task_id: str | int, queue_name: str, app: str, route: dict[str, Any] | None = None
) -> State[None]:
    """Have an agent work on one task: claim it, start the agent, see to what comes of it.

    Args:
        task_id: the task's id on the board; Prefect's command line makes a number of `42`.
        queue_name: the queue whose route the task takes.
        app: where the app's code is, as `run.py:dispatcher`, for a process that has not loaded it;
            whose run it is, its tags say.
        route: what was said of the route over HTTP when the run was created; what is said now
            counts as long as the route is there. See `athanore.definitions`.
    """
    task_id = str(task_id)
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ConfigurationError("run_agent only works as a Prefect flow run.")
    run: FlowRun = context.flow_run
    found = apps.of_run(run.tags, app)
    async with runs.prefect_client() as client:
        try:
            current = await found.routes.find(client, queue_name, route)
        except RouteError as exc:
            return await _leave_to_others(client, run, str(exc))
        if not names.is_run_key(run.idempotency_key, found.name, queue_name, task_id):
            return await _hand_over(client, found, current, task_id)
        with control.controlled(run.id, task_id, run) as handle:
            try:
                return await _Visit(client, found, current, run, handle, task_id).perform()
            finally:
                limits.leave(run.id)


async def _leave_to_others(client: PrefectClient, run: FlowRun, why: str) -> State[None]:
    """Give back a run whose route this process lacks: a worker that has it may be coming."""
    await Ledger.as_it_is(client, run).give_back()
    state: State[None] = AwaitingConcurrencySlot(scheduled_time=clock.now() + _ELSEWHERE)
    state.message = why
    return state


async def _hand_over(
    client: PrefectClient, app: apps.App, route: Route, task_id: str
) -> State[None]:
    """A run that was started by hand hands over to the one that holds the task's lock."""
    try:
        board_task = await app.board.task(task_id)
    except BoardError as exc:
        return Cancelled(message=str(exc))
    if board_task.queue_name != route.queue_name:
        return Cancelled(
            message=f"Task {task_id!r} is in {board_task.queue_name!r}; "
            f"this route takes tasks from {route.queue_name!r}."
        )
    try:
        run = (await tasks.dispatch(client, app, board_task)).run
    except DispatchError as exc:
        return Cancelled(message=str(exc))
    return Completed(name="HandedOver", message=f"The task's run is {run.name!r} ({run.id}).")


class _Visit:
    """One start of a run: gate, claim, attempt, conclusion."""

    def __init__(
        self,
        client: PrefectClient,
        app: apps.App,
        route: Route,
        run: FlowRun,
        handle: control.RunControl,
        task_id: str,
    ) -> None:
        self.client = client
        self.app = app
        self.route = route
        self.run = run
        self.handle = handle
        self.task_id = task_id
        self.log = get_run_logger()
        self._last_event = 0
        self._prompt = ""
        self.token = tokens.new_token(run.id)
        self.ledger = Ledger(client, run, route.retry)
        self.conclusion = Conclusion(app, route, self.ledger, task_id, self.log)

    async def perform(self) -> State[None]:
        if (recorded := self.ledger.recorded()) is not None:
            return await self.conclusion.repeat(recorded)
        full, _ = await asyncio.gather(
            limits.no_slot(self.client, self.app.name, self.run),
            self.ledger.open(
                self._worker(),
                self.token,
                self.app.version,
                key=self.app.dispatcher.settings.signing_key,
            ),
        )
        if self.handle.reason is control.StopReason.CANCELLED:
            return Cancelled(message=self.handle.message)  # the poll puts the task aside
        if self.handle.reason is not None:
            return await self.conclusion.stopped(self.handle.reason, self.handle.message)
        if (kept := self.ledger.kept()) is not None:
            return await self.conclusion.deliver(kept)
        if full:
            return await self._later(full, timedelta(seconds=random.uniform(1, 3)))
        try:
            claimed = await self._claim()
        except (TaskMovedError, NotFoundError) as exc:
            return Cancelled(name=runs.NOTHING_TO_DO, message=str(exc))
        except BoardError as exc:
            if isinstance(exc, AnswerLostError):
                await self.ledger.keep_claim()
            return await self._later(str(exc), self.route.poll_interval)
        breaker.attempt_starts(self.app.name, self.route)
        control.started(self.run.id)
        outages = control.outages()
        began = monotonic()
        result = await self._attempt(claimed)
        took = monotonic() - began
        try:
            state = await self._conclude(result, outages)
        except PrefectUnavailableError:
            # The worker stops without Prefect; one that was cut off may have lost the task.
            if not self.handle.was_cut_off:
                await self.conclusion.without_prefect(result)
            raise
        self._announce(claimed, state)
        ending = (state.message or state.name or "").partition("\n")[0]
        attempt = report.Attempt(claimed, self._prompt, ending, took, result)
        await report.write_page(self.client, self.app, self.run, attempt, self.log)
        return state

    async def _conclude(self, result: AgentResult | None, outages: int) -> State[None]:
        await self._catch_up()
        if control.outages() != outages and not await self.ledger.is_ours():
            raise Abort("Prefect was away for so long that the run was taken over.")
        if result is not None:
            return await self.conclusion.ended(result)
        assert self.handle.reason is not None
        return await self.conclusion.stopped(self.handle.reason, self.handle.message)

    def _worker(self) -> str:
        """The name under which our worker sends heartbeats; none if a stock worker runs this."""
        return names.worker_name() if control.is_held(self.run.id) else ""

    async def _catch_up(self) -> None:
        """Conclude the attempt as the route says now: it may have been changed over HTTP."""
        if not self.app.routes.is_open:
            return
        with suppress(RouteError):
            parameter = self.run.parameters.get("route")
            now = await self.app.routes.find(self.client, self.route.queue_name, parameter)
            self.route = replace(now, in_progress_queue=self.route.in_progress_queue)
            self.ledger.policy = now.retry
            self.conclusion = Conclusion(self.app, self.route, self.ledger, self.task_id, self.log)

    def _announce(self, claimed: BoardTask, state: State[None]) -> None:
        """Emit the event that ends this start of the run."""
        kind = _ENDINGS.get(state.type, EventKind.RETRYING)
        transcript = self._transcript(claimed)
        transcript.number_from(self._last_event)
        transcript.emit(AgentEvent(kind, {"message": state.message or ""}))

    def _transcript(self, claimed: BoardTask) -> Transcript:
        # Events are numbered within one start of a run; readers fill gaps and drop repeats by that.
        start = {"athanore.start": str(self.run.run_count)}
        resource = names.task_labels(self.app.name, claimed.id, claimed.name) | start
        return Transcript(self.log, resource, _related(self.run), self.app.redactor)

    async def _later(self, why: str, delay: timedelta) -> State[None]:
        """Give the slot back and be offered again; not counted as an attempt."""
        await self.ledger.give_back()
        due = clock.now() + delay
        control.wake(due)
        self.log.info("Waiting: %s", why)
        state: State[None] = AwaitingConcurrencySlot(scheduled_time=due)
        state.message = why
        return state

    async def _claim(self) -> BoardTask:
        source = self.route.queue_name
        if self.ledger.has_claimed() or self.run.empirical_policy.retry_type == "reschedule":
            # An earlier claim may have succeeded, or a person asked for another try of a finished
            # run: take the task from where it is.
            here = (await self.app.board.task(self.task_id)).queue_name
            if here in (self.route.in_progress_queue, self.route.dead_letter_queue):
                source = here
        claimed = await self.app.board.claim(self.task_id, source, self.route.in_progress_queue)
        self.log.info("Claimed %r from %r: attempt %s", claimed.name, source, self.ledger.attempt)
        return claimed

    def _margin(self) -> timedelta:
        """How much longer than its timeout an attempt may take until it is over."""
        try:
            agent = self.app.dispatcher.agent_for(self.route)
        except ConfigurationError:
            agent = None
        grace = getattr(agent, "stop_grace", None)
        grace = grace if isinstance(grace, timedelta) else STOP_GRACE
        return grace + _LAST_WORDS + _TIMEOUT_MARGIN

    async def _attempt(self, claimed: BoardTask) -> AgentResult | None:
        """Run the agent once, as a Prefect task; None when it was stopped."""
        transcript = self._transcript(claimed)
        self.handle.on_activity = transcript.touch
        transcript.emit(
            AgentEvent(
                EventKind.CLAIMED,
                {"queue": self.route.queue_name, "attempt": self.ledger.attempt},
            )
        )
        limit = self.route.timeout
        attempt = _attempt.with_options(
            name=f"attempt {self.ledger.attempt}",
            timeout_seconds=None if limit is None else (limit + self._margin()).total_seconds(),
        )
        results: list[AgentResult] = []
        run_attempt = cast(Callable[..., Coroutine[Any, Any, State[None]]], attempt)
        work = asyncio.create_task(
            run_attempt(
                partial(self._work_redacted, claimed, transcript), results.append, return_state=True
            )
        )
        watch = partial(self._watch_for_stall, transcript)
        stall_watch = asyncio.create_task(kept_up("The watch for stalls", watch))
        try:
            state = await self.handle.supervise(work)
        except asyncio.CancelledError:
            if self.handle.reason is None:
                raise
            if self.handle.reason is control.StopReason.STALLED:
                return _cut_short(AgentOutcome.STALLED, self.handle.message, transcript)
            return None
        finally:
            stall_watch.cancel()
            transcript.close()
            self._last_event = transcript.sequence
        if results:
            return results[0]
        if state.name == "TimedOut":
            return _cut_short(AgentOutcome.TIMED_OUT, "timed out", transcript)
        return AgentResult(AgentOutcome.FAILED, state.message or "unknown failure")

    async def _work(self, claimed: BoardTask, transcript: Transcript) -> AgentResult:
        route, attempt = self.route, self.ledger.attempt
        try:
            prompt = self._prompt = await route.make_prompt(claimed, attempt)
        except Exception as exc:
            self.log.exception("The prompt function failed.")
            return _hopeless(f"prompt function raised {type(exc).__name__}: {exc}")
        try:
            agent = self.app.dispatcher.agent_for(route)
            command = route.words()
        except (ConfigurationError, ValueError) as exc:
            return _hopeless(str(exc))
        job = AgentJob(
            task=claimed,
            route=route,
            prompt=prompt,
            attempt=attempt,
            timeout=route.timeout,
            env=agent_environment(
                route,
                claimed,
                attempt=attempt,
                api_url=self.app.api_url,
                token=self.token,
                adapter=self.app.board.adapter,
            ),
            cwd=route.cwd,
            emit=transcript.emit,
            alive=transcript.touch,
            command=command,
        )
        try:
            return await agent.run(job)
        except Exception as exc:
            self.log.exception("%s failed.", type(agent).__name__)
            reason = f"{type(agent).__name__} raised {type(exc).__name__}: {exc}"
            return AgentResult(AgentOutcome.FAILED, reason)

    async def _work_redacted(self, claimed: BoardTask, transcript: Transcript) -> AgentResult:
        """What is said of the attempt goes to comments, states and labels."""
        result, clean = await self._work(claimed, transcript), self.app.redactor
        return replace(
            result,
            reason=clean.text(result.reason),
            output_tail=clean.text(result.output_tail),
            usage=clean.value(dict(result.usage)),
        )

    async def _has_called(self, transcript: Transcript) -> bool:
        """Tell whether the agent has called a task API of another process since it was heard."""
        heard = transcript.last_activity
        for pause in (0.0, activity.LAG.total_seconds()):
            await asyncio.sleep(pause)
            ago = await activity.since_last_call(self.client, self.run.id)
            if ago is not None:
                transcript.touch(ago)
            if transcript.last_activity > heard:
                return True
        return False

    async def _watch_for_stall(self, transcript: Transcript) -> None:
        limit = self.route.stall_timeout
        if limit is None:
            return
        while True:
            await transcript.silence(limit)
            if control.api_is_here() or not await self._has_called(transcript):
                break
        self.handle.stop(
            control.StopReason.STALLED, f"stalled: nothing heard for {limit.total_seconds():g} s"
        )


@task(name="attempt", persist_result=False, cache_policy=NO_CACHE, retries=0)
async def _attempt(
    work: Callable[[], Awaitable[AgentResult]], keep: Callable[[AgentResult], None]
) -> State[None]:
    """One attempt of the agent, so that Prefect shows its state and duration."""
    started = monotonic()
    result = await work()
    keep(result)
    took = f"{monotonic() - started:.1f} s"
    match result.outcome:
        case AgentOutcome.SUCCEEDED:
            return Completed(message=f"finished after {took}")
        case AgentOutcome.TIMED_OUT:
            return Failed(name="TimedOut", message=f"{result.reason} after {took}")
        case _:
            return Failed(message=f"{result.reason} after {took}")


def _hopeless(reason: str) -> AgentResult:
    return AgentResult(AgentOutcome.FAILED, reason, retryable=False)


def _cut_short(outcome: AgentOutcome, reason: str, transcript: Transcript) -> AgentResult:
    """The result of an attempt whose adapter was stopped before it could return one."""
    return AgentResult(outcome, reason, output_tail=transcript.last_words(), usage=transcript.usage)


def _related(run: FlowRun) -> list[dict[str, str]]:
    return [
        {
            "prefect.resource.id": f"prefect.flow-run.{run.id}",
            "prefect.resource.role": "flow-run",
            "prefect.resource.name": run.name,
        }
    ]
