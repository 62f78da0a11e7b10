"""The agent flow: one run is one visit of a task to a route, over all its attempts."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import AwaitingConcurrencySlot, Cancelled

from athanore import names
from athanore.errors import (
    AthanoreError,
    BoardError,
    ConfigurationError,
    PrefectUnavailableError,
    RouteError,
)
from athanore.flows import agent_choice, asking, provider_limits, refusals, reports
from athanore.flows.attempts import budgets
from athanore.flows.attempts.attempt import AgentAttempt, cut_short
from athanore.flows.attempts.booking import note_agent
from athanore.flows.attempts.budgets import Purse
from athanore.flows.attempts.transcript import Transcript, related
from athanore.flows.by_hand import hand_over, leave_to_others
from athanore.flows.claiming import claim
from athanore.flows.ends import going_round, hooks, letting_go
from athanore.flows.ends.outcome import Conclusion
from athanore.flows.ends.publishing import ApprovalNeededError
from athanore.flows.provider_limits import Wait
from athanore.flows.refused_claims import claim_is_held, why_not_claimed
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind
from athanore.models import Task as BoardTask
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runs.records import tokens
from athanore.runs.records.record import record_of
from athanore.runs.records.refused_claim import HELD
from athanore.runs.records.route_record import RouteRecord, as_begun
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import PrefectState
from athanore.runtime import starts
from athanore.runtime.apps import App
from athanore.runtime.leases.lease import Lease
from athanore.runtime.leases.lease_keeper import kept
from athanore.runtime.leases.local_runs import RunControl, StopReason
from athanore.runtime.registry import registry
from athanore.services.wakeups import label_is_free

# A worker hears within some seconds that its run has another start.
_EARLIER_START_PAUSE = timedelta(seconds=3)


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
    task_id: str | int,
    queue_name: str,
    app: str,
    route: dict[str, Any] | None = None,
    route_name: str = "",
) -> State[None]:
    """Have an agent work on one task: claim it, start the agent, see to what comes of it.

    Args:
        task_id: the task's id on the board; Prefect's command line makes a number of `42`.
        queue_name: the queue that the route of the task watches.
        app: where the app's code is, as `run.py:dispatcher`, for a process that has not loaded it;
            whose run it is, its tags say.
        route: what was said of the route over HTTP when the run was created; what is said now
            counts as long as the route is there. See `athanore.runtime.routes.definitions`.
        route_name: the name of the route; by default as its queue.
    """
    task_id = str(task_id)
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise ConfigurationError("run_agent only works as a Prefect flow run.")
    run: FlowRun = context.flow_run
    found = registry.of_run(run.tags, app)
    async with store.prefect_client() as client:
        try:
            current = await found.routes.find(
                client, {"queue_name": queue_name, "route_name": route_name, "route": route}
            )
        except RouteError as exc:
            return await leave_to_others(client, found, run, str(exc))
        if not any(
            names.is_run_key(run.idempotency_key, found.name, name, task_id)
            for name in current.names
        ):
            return await hand_over(client, found, current, task_id)
        # Asked before this start is known here; Prefect need not know of the other one any more.
        other = found.local_runs.at_work_on(task_id)
        with found.local_runs.controlled(run.id, task_id, run) as handle:
            try:
                visit = _Visit(client, found, current, run, handle, task_id)
                state = await visit.perform(other)
                reports.say_once(state, visit.log)
                if state.name != PrefectState.AWAITING_SLOT:
                    await label_is_free(client, found, current, run)
                return state
            except Abort:  # it may be suspended, and works no more
                await label_is_free(client, found, current, run)
                raise
            finally:
                found.slots.leave(run.id)


class _Visit:
    """One start of a run: gate, claim, attempt, conclusion."""

    def __init__(
        self,
        client: PrefectRunStore,
        app: App,
        route: Route,
        run: FlowRun,
        handle: RunControl,
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
        self._in_progress_now = route.in_progress_queue
        self._seen: BoardTask | None = None
        self.token = tokens.new_token(run.id)
        self.run_log = RunLog(client, run, route.retry)
        self.conclusion = Conclusion(app, route, self.run_log, task_id, self.log)

    async def perform(self, other: RunControl | None) -> State[None]:
        """Make the start, unless an earlier one (here: `other`) may have a living agent."""
        try:
            return await self._perform(other)
        except ApprovalNeededError as exc:
            asked = (self.client, self.app, self.route, self.run_log, exc.question)
            return await asking.suspend(*asked, self.handle, {}, self.log, exc.here)

    async def _perform(self, other: RunControl | None) -> State[None]:
        if (recorded := self.run_log.recorded()) is not None:
            return await self.conclusion.repeat(recorded)
        here = "an agent of this task is still at work here" if other else None
        if earlier := here or await starts.earlier(self.client, self.app, self.run):
            return await self._later(earlier, _EARLIER_START_PAUSE)
        holding = self.app.local_runs.holding(self.run.id)
        async with AsyncExitStack() as stack:
            lease = holding.lease if holding else None
            if holding is None:  # a stock worker's, which sees to nothing
                lease = Lease(self.app.dispatcher.settings.lost_after)
                await stack.enter_async_context(
                    kept(lease, lambda: {self.run.id: self.app.local_runs})
                )
            try:
                return await self._start(holding.worker if holding else "", lease)
            except Exception:
                if self.run_log.start is not None:
                    await self.run_log.leave()
                raise

    async def _start(self, worker: str, lease: Lease | None) -> State[None]:
        # An earlier start that is dead, and did not get to say what becomes of the task; a flow
        # that the engine runs once more; or a finished run that a person has tried again.
        kind, record = self.run.empirical_policy.retry_type, record_of(self.run)
        self._came_before = bool(kind or record.living_start or record.awaits_the_board)
        if self._came_before:
            self._use(await self._as_it_lies())
        full, _ = await asyncio.gather(
            self.app.slots.no_slot(self.client, self.app.name, self.run),
            self.run_log.open(
                worker,
                self.token,
                self.app.version,
                key=self.app.dispatcher.settings.signing_key,
                route=RouteRecord.of(self.route).dump(),
            ),
        )
        if self.run_log.is_deleted:
            raise Abort("The run was deleted.")
        self.handle.start = self.run_log.start
        kept_result = self.run_log.kept()
        if full and kept_result is None and self.handle.reason is None:
            return await self._later(full, timedelta(seconds=random.uniform(1, 3)))
        if lease is not None and self.handle.reason is None:
            await self.handle.unless_stopped(lease.held())
        may_have_it = kept_result is not None or self.run_log.has_claimed()
        if self.handle.reason is StopReason.CANCELLED and not may_have_it:
            await self.run_log.leave()
            return Cancelled(message=self.handle.message)  # the poll puts the task aside
        if self.handle.reason is not None:
            return await self._conclude(None, self.app.local_runs.outages())
        if kept_result is not None:
            return await self.conclusion.deliver(kept_result)
        by_task = agent_choice.is_by_task(self.app.dispatcher, self.route)
        where = (self.client, self.app, self.route, self.run_log, self.task_id)
        try:
            if (busy := await refusals.no_label_slot(*where[:4], self._read)) is not None:
                return await self._later(busy, refusals.soon(self.route))
            if held_why := await claim_is_held(self.app, self.run_log, self._read):
                return await self._later(held_why, self.route.poll_interval, HELD)
            self._use(await agent_choice.with_agent(self.app, self.route, self._read))
        except AthanoreError as exc:
            return await self._not_claimed(exc)
        chosen = await provider_limits.choose(
            self.client, self.app, self.route, self.run, pauses=not by_task
        )
        if isinstance(chosen, Wait):
            return await self._later(chosen.text, chosen.due - self.app.clock.now())
        if falls_back := chosen is not self.route:
            self._use(chosen)
            said = "The account of the agent is limited; the fallback agent works."
            self.log.info(said, extra={"action": "fallback_agent"})
        purse = Purse(self.client, self.app, self.route, self.run_log, self.task_id)
        await purse.look()
        spent = purse.reached({})
        if spent is not None and spent.until is not None:
            where = (self.client, self.app, self.route)
            held = await budgets.hold(*where, spent.text, spent.until, self.log)
            return await self._later(held.text, held.due - self.app.clock.now())
        try:
            claimed = await self._claim()
        except AthanoreError as exc:
            return await self._not_claimed(exc)
        self.app.noted.refused.pop(self.route.name, None)
        if await going_round.goes_round(*where):
            return await going_round.stop(self.route, self.run_log, self.task_id, self.log)
        asked = (self.client, self.app, self.route, self.run_log)
        if (state := await asking.before_agent(*asked, self.handle, self.log)) is not None:
            return state
        if spent is not None:
            return await self.conclusion.ended(spent.ending(AgentResult(AgentOutcome.FAILED)))
        if by_task or falls_back:
            await note_agent(purse.account({}), self.run_log, self.log)
        self.app.breaker.attempt_starts(self.route)
        self.app.local_runs.started(self.run.id)
        outages = self.app.local_runs.outages()
        lapses = lease.lapses if lease is not None else 0
        began = monotonic()
        transcript = self._transcript(claimed)
        attempt = AgentAttempt(
            self.client, self.app, self.route, self.run_log, self.handle, purse, self.log
        )
        result = await attempt.perform(claimed, self.token, transcript)
        self._last_event = transcript.sequence
        took = monotonic() - began
        if lease is not None and lease.lapses != lapses:
            result = letting_go.unless_killed(self.handle, result)
            outages = -1
        if result is not None and attempt.waits_for is not None and self.handle.reason is None:
            usage = purse.account(transcript.usage)
            return await asking.suspend(*asked, attempt.waits_for, self.handle, usage, self.log)
        try:
            state = await self._conclude(result, outages, purse.account(transcript.usage))
        except PrefectUnavailableError:
            # The worker stops without Prefect; one that was cut off may have lost the task.
            if not self.handle.was_cut_off:
                await self.conclusion.without_prefect(result)
            raise
        except ApprovalNeededError as exc:
            await self._write_page(claimed, attempt.prompt, str(exc), took, result, transcript)
            raise
        self._announce(claimed, state)
        ending = (state.message or state.name or "").partition("\n")[0]
        await self._write_page(claimed, attempt.prompt, ending, took, result, transcript)
        return state

    async def _as_it_lies(self) -> Route:
        """The route with the in-progress queue in which an earlier start has left the task."""
        begun = as_begun(self.route, self.run)
        if begun is not self.route:
            with suppress(BoardError):  # the queue itself may have been renamed, too
                if (await self._read()).queue_name == self.route.in_progress_queue:
                    return self.route
        return begun

    async def _write_page(
        self,
        claimed: BoardTask,
        prompt: str,
        ending: str,
        took: float,
        result: AgentResult | None,
        transcript: Transcript,
    ) -> None:
        ended = result or cut_short(AgentOutcome.FAILED, ending, transcript)
        output = self.run_log.output or ""
        page = reports.Attempt(claimed, prompt, ending, took, ended, output)
        await reports.write_page(self.client, self.app, self.run, page, self.log)

    async def _conclude(
        self, result: AgentResult | None, outages: int, usage: Mapping[str, Any] | None = None
    ) -> State[None]:
        await self._catch_up()
        unsure = self.app.local_runs.outages() != outages
        if result is None:
            parts = (self.app, self.route, self.run_log, self.handle, self.log)
            return await letting_go.stopped(*parts, unsure=unsure, usage=usage or {})
        if unsure and not await letting_go.is_ours(self.run_log):
            await letting_go.not_counted(self.app, self.route, self.run_log, self.log)
        state = await self.conclusion.ended(result)
        await provider_limits.passed(self.client, self.app, self.route, self.run, result)
        if self.run_log.is_deleted:
            await letting_go.run_deleted(self.app, self.route, self.run_log, state, self.log)
        return state

    async def _catch_up(self) -> None:
        """Conclude the attempt as the route says now: it may have been changed over HTTP."""
        if not self.app.routes.is_open:
            return
        with suppress(RouteError):
            now = await self.app.routes.find(self.client, self.run.parameters)
            # The agent was chosen at the start, and it cannot be said over HTTP.
            kept = {
                "in_progress_queue": self.route.in_progress_queue,
                "agent": self.route.agent,
                "fallback_agent": self.route.fallback_agent,
            }
            self.run_log.policy = now.retry
            self._use(replace(now, **kept))

    def _use(self, route: Route) -> None:
        """Go on with the route as it is now."""
        self.route = route
        self.conclusion = Conclusion(self.app, route, self.run_log, self.task_id, self.log)

    def _announce(self, claimed: BoardTask, state: State[None]) -> None:
        """Emit the event that ends this start of the run."""
        kind = _ENDINGS.get(state.type, EventKind.RETRYING)
        transcript = self._transcript(claimed)
        transcript.number_from(self._last_event)
        transcript.emit(AgentEvent(kind, {"message": state.message or ""}))

    def _transcript(self, claimed: BoardTask) -> Transcript:
        # Events are numbered within one start of a run; readers fill gaps and drop repeats by that.
        start = {"athanore.start": str(self.run_log.record.starts)}
        resource = names.task_labels(self.app.name, claimed.id, claimed.name) | start
        return Transcript(self.log, resource, related(self.run), self.app.redactor)

    async def _later(self, why: str, delay: timedelta | None = None, held: str = "") -> State[None]:
        """Give the slot back and be offered again, by default soon; not counted as an attempt."""
        await self.run_log.give_back(held=held)
        times = self.app.noted.waits_again(self.run.id, why)
        due = self.app.clock.now() + (delay or refusals.soon(self.route, times))
        self.app.local_runs.wake(due)
        level = logging.DEBUG if times else logging.INFO
        self.log.log(level, "Waiting: %s", why, extra={"action": "run_waits"})
        state: State[None] = AwaitingConcurrencySlot(scheduled_time=due)
        state.message = self.app.redactor.text(why)  # a user's function may have raised it
        return state

    async def _not_claimed(self, error: AthanoreError) -> State[None]:
        where = (self.client, self.app, self.route, self.run_log, self.task_id)
        ended = await refusals.not_claimed(*where, error, self.log)
        if ended is not None:
            return ended
        why, held = await why_not_claimed(self.app, self.run_log, self._read, error, self.log)
        return await self._later(why, self.route.poll_interval if held else None, held)

    async def _read(self) -> BoardTask:
        """The task before its claim, which a start reads from the board once."""
        if self._seen is None:
            self._seen = await self.app.board.task(self.task_id)
        return self._seen

    async def _claim(self) -> BoardTask:
        came_before = self._came_before or self.run_log.has_claimed()
        begun_in = self.route.in_progress_queue if came_before else None
        now = replace(self.route, in_progress_queue=self._in_progress_now)
        where = (self.client, self.app, now, self.run_log)
        claimed = await claim(*where, self._read, self.log, begun_in=begun_in)
        if now != self.route or self.run_log.has_claimed():
            self._use(now)
            await self.run_log.took_over(RouteRecord.of(now).dump())
        return claimed
