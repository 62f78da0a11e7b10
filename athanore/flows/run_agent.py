"""The agent flow: one run is one visit of a task to a route, over all its attempts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import AwaitingConcurrencySlot, Cancelled

from athanore import names
from athanore.agent_adapters.base import AgentJob
from athanore.errors import (
    AnswerLostError,
    BoardError,
    ConfigurationError,
    NotFoundError,
    PrefectUnavailableError,
    RouteError,
    TaskMovedError,
)
from athanore.flows import hooks, letting_go, reports
from athanore.flows.attempt_task import attempt_task
from athanore.flows.by_hand import hand_over, leave_to_others
from athanore.flows.outcome import Conclusion
from athanore.flows.transcript import Transcript
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind
from athanore.models import Task as BoardTask
from athanore.processes.supervisor import STOP_GRACE
from athanore.routes import Route
from athanore.runs import activity, clock, record, slots, store, tokens
from athanore.runtime import apps, breaker, local_runs, starts
from athanore.runtime.background import kept_up
from athanore.runtime.environment import agent_environment
from athanore.runtime.lease import Lease
from athanore.runtime.lease_keeper import kept

# A worker hears within some seconds that its run has another start.
_EARLIER_START_PAUSE = timedelta(seconds=3)

# The adapter enforces the timeout, and then stops the agent and reads its last words. Prefect's own
# limit is a net for adapters that do not: were it any closer, both would be lost.
_LAST_WORDS = timedelta(seconds=5)
_TIMEOUT_MARGIN = timedelta(seconds=2)

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
            counts as long as the route is there. See `athanore.runtime.definitions`.
    """
    task_id = str(task_id)
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ConfigurationError("run_agent only works as a Prefect flow run.")
    run: FlowRun = context.flow_run
    found = apps.of_run(run.tags, app)
    async with store.prefect_client() as client:
        try:
            current = await found.routes.find(client, queue_name, route)
        except RouteError as exc:
            return await leave_to_others(client, run, str(exc))
        if not names.is_run_key(run.idempotency_key, found.name, queue_name, task_id):
            return await hand_over(client, found, current, task_id)
        # Asked before this start is known here; Prefect need not know of the other one any more.
        other = local_runs.at_work_on(found.name, task_id)
        with local_runs.controlled(run.id, task_id, run) as handle:
            try:
                visit = _Visit(client, found, current, run, handle, task_id)
                return await visit.perform(other)
            finally:
                slots.leave(run.id)


class _Visit:
    """One start of a run: gate, claim, attempt, conclusion."""

    def __init__(
        self,
        client: PrefectClient,
        app: apps.App,
        route: Route,
        run: FlowRun,
        handle: local_runs.RunControl,
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
        self._was_at_work = False
        self.token = tokens.new_token(run.id)
        self.ledger = record.Ledger(client, run, route.retry)
        self.conclusion = Conclusion(app, route, self.ledger, task_id, self.log)

    async def perform(self, other: local_runs.RunControl | None) -> State[None]:
        """Make the start, unless an earlier one (here: `other`) may have a living agent."""
        if (recorded := self.ledger.recorded()) is not None:
            return await self.conclusion.repeat(recorded)
        here = "an agent of this task is still at work here" if other else None
        if earlier := here or await starts.earlier(self.client, self.app, self.run):
            return await self._later(earlier, _EARLIER_START_PAUSE)
        holding = local_runs.holding(self.run.id)
        async with AsyncExitStack() as stack:
            lease = holding.lease if holding else None
            if holding is None:  # a stock worker's, which sees to nothing
                lease = Lease(self.app.dispatcher.settings.lost_after)
                await stack.enter_async_context(kept(lease, lambda: [self.run.id]))
            try:
                return await self._start(holding.worker if holding else "", lease)
            except Exception:
                if self.ledger.start is not None:
                    await self.ledger.leave()
                raise

    async def _start(self, worker: str, lease: Lease | None) -> State[None]:
        # An earlier start that is dead, and did not get to say what becomes of the task.
        self._was_at_work = record.last_start_of(self.run) is not None
        full, _ = await asyncio.gather(
            slots.no_slot(self.client, self.app.name, self.run),
            self.ledger.open(
                worker,
                self.token,
                self.app.version,
                key=self.app.dispatcher.settings.signing_key,
            ),
        )
        if self.ledger.is_deleted:
            raise Abort("The run was deleted.")
        self.handle.start = self.ledger.start
        kept_result = self.ledger.kept()
        if full and kept_result is None and self.handle.reason is None:
            return await self._later(full, timedelta(seconds=random.uniform(1, 3)))
        if lease is not None and self.handle.reason is None:
            await self.handle.unless_stopped(lease.held())
        if self.handle.reason is local_runs.StopReason.CANCELLED:
            await self.ledger.leave()
            return Cancelled(message=self.handle.message)  # the poll puts the task aside
        if self.handle.reason is not None:
            return await self._conclude(None, local_runs.outages())
        if kept_result is not None:
            return await self.conclusion.deliver(kept_result)
        try:
            claimed = await self._claim()
        except (TaskMovedError, NotFoundError) as exc:
            await self.ledger.leave()
            return Cancelled(name=store.NOTHING_TO_DO, message=str(exc))
        except BoardError as exc:
            if isinstance(exc, AnswerLostError):
                await self.ledger.keep_claim()
            return await self._later(str(exc), self.route.poll_interval)
        breaker.attempt_starts(self.app.name, self.route)
        local_runs.started(self.run.id)
        outages = local_runs.outages()
        lapses = lease.lapses if lease is not None else 0
        began = monotonic()
        result = await self._attempt(claimed)
        took = monotonic() - began
        if lease is not None and lease.lapses != lapses:
            result = letting_go.unless_killed(self.handle, result)
            outages = -1
        try:
            state = await self._conclude(result, outages)
        except PrefectUnavailableError:
            # The worker stops without Prefect; one that was cut off may have lost the task.
            if not self.handle.was_cut_off:
                await self.conclusion.without_prefect(result)
            raise
        self._announce(claimed, state)
        ending = (state.message or state.name or "").partition("\n")[0]
        attempt = reports.Attempt(claimed, self._prompt, ending, took, result)
        await reports.write_page(self.client, self.app, self.run, attempt, self.log)
        return state

    async def _conclude(self, result: AgentResult | None, outages: int) -> State[None]:
        await self._catch_up()
        unsure = local_runs.outages() != outages
        if result is None:
            parts = (self.app, self.route, self.ledger, self.handle, self.log)
            return await letting_go.stopped(*parts, unsure=unsure)
        if unsure and not await letting_go.is_ours(self.ledger):
            raise Abort("Prefect was away for so long that the run was taken over.")
        state = await self.conclusion.ended(result)
        if self.ledger.is_deleted:
            await letting_go.run_deleted(self.app, self.route, self.ledger, state, self.log)
        return state

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
        local_runs.wake(due)
        self.log.info("Waiting: %s", why)
        state: State[None] = AwaitingConcurrencySlot(scheduled_time=due)
        state.message = why
        return state

    async def _claim(self) -> BoardTask:
        source = self.route.queue_name
        came_before = self._was_at_work or self.ledger.has_claimed()
        if came_before or self.run.empirical_policy.retry_type == "reschedule":
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
        attempt = attempt_task.with_options(
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
            if self.handle.reason is local_runs.StopReason.STALLED:
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
            if local_runs.api_is_here() or not await self._has_called(transcript):
                break
        self.handle.stop(
            local_runs.StopReason.STALLED, f"stalled: nothing heard for {limit.total_seconds():g} s"
        )


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
