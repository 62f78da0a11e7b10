"""What follows an attempt: the comment, the move, and the state that the run ends in."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta

from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Cancelled, Completed, Failed, Scheduled

from athanore.errors import BoardError, DispatchError
from athanore.flows import provider_limits
from athanore.flows.attempts import budgets
from athanore.flows.ends.onward import go_on
from athanore.flows.ends.publishing import published
from athanore.flows.ends.task_place import TaskPlace
from athanore.flows.refusals import refused_until
from athanore.flows.retry import retry_delay
from athanore.logs import Log
from athanore.models import AgentOutcome, AgentResult
from athanore.routing.routes import Route
from athanore.runs.capacity import pausing
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import UNTOLD, PrefectState, StateName
from athanore.runtime.apps import App
from athanore.runtime.leases.local_runs import StopReason

_UNPAUSED_WAIT = timedelta(minutes=15)
"""How long a task waits whose route should be paused for good, and cannot be paused."""

_FAILURES = {
    AgentOutcome.TIMED_OUT: PrefectState.TIMED_OUT,
    AgentOutcome.STALLED: StateName.STALLED,
}


class Conclusion:
    """Brings the end of an attempt to the board and to Prefect.

    What the board refuses for now is kept, and said by a later start of the run: a task never pays
    for its board.

    Args:
        interrupted: a worker that is lost had begun with it; what it has done is not done again,
            and what the board refuses is an error.
    """

    def __init__(
        self,
        app: App,
        route: Route,
        run_log: RunLog,
        task_id: str,
        log: Log,
        *,
        interrupted: bool = False,
    ) -> None:
        self._app = app
        self._route = route
        self._run_log = run_log
        self._task_id = task_id
        self._log = log
        self._interrupted = interrupted
        self._limit: provider_limits.Wait | None = None
        self._is_paused = False  # the route, for what this attempt came to
        self._place = TaskPlace(app, run_log, task_id, log, interrupted=interrupted)

    async def ended(self, result: AgentResult) -> State[None]:
        """Record an attempt that ended by itself, and see to what follows."""
        await self._run_log.ended(result)
        return await self.follow(result)

    async def follow(self, result: AgentResult) -> State[None]:
        """See to what follows an attempt whose end is recorded.

        Raises:
            BoardError: the board refuses it; only if `interrupted`.
        """
        where = (self._run_log.prefect, self._app, self._route)
        self._limit = await budgets.wait_after(*where, result, self._log)  # wherever the task is
        try:
            return await self._follow(result)
        except BoardError as exc:
            if self._interrupted:
                raise
            return await self._keep(exc)

    async def deliver(self, result: AgentResult) -> State[None]:
        """Say what an earlier start of the run came to, which the board refused to hear."""
        state = await self.follow(result)
        if state.name not in UNTOLD:
            self._app.noted.refused_ends.discard(self._run_log.run.id)
            await self._run_log.delivered()
        return state

    async def _follow(self, result: AgentResult) -> State[None]:
        if result.succeeded:
            self._app.breaker.succeeded(self._route)
            return await self._succeeded()
        queue = await self._place.queue()
        if queue is None:
            return Cancelled(message=f"{result.reason}; the task is gone from the board.")
        if self._interrupted and queue == self._route.queue_name:  # it had been moved back already
            if not result.counts:
                return await self._given_back(result.reason, self._app.clock.now())
            if self._may_retry(result):
                return self._awaiting_retry(result)
        if queue != self._route.in_progress_queue:
            await self._place.comment(
                f"Agent failed ({result.reason}) after the task was moved to {queue!r}; "
                "leaving it there."
            )
            await self._run_log.rule_out_retries()
            return _failed(result, f"{result.reason}, after the task was moved to {queue!r}")
        if self._limit is not None:
            return await self._wait(self._limit, result)
        if not result.counts:
            return await self._pause_route(result, "agents cannot work now")
        if self._app.breaker.failed(self._route, self._task_id, result):
            count = self._route.pause_after_failures
            alike = f"{count} tasks in a row failed alike"
            return await self._pause_route(result, "a task failed" if count == 1 else alike)
        if self._may_retry(result):
            return await self._retry(result)
        await self._run_log.rule_out_retries()
        return _failed(result, _with_tail(result))

    async def repeat(self, result: AgentResult) -> State[None]:
        """See to what follows a finished attempt, when the engine runs the flow once more."""
        where = (self._app, self._run_log, self._task_id, self._log)
        self._interrupted, self._place = True, TaskPlace(*where, interrupted=True)
        try:
            state = await self.follow(result)
        except BoardError as exc:
            state = await self._keep(exc)
        if state.is_scheduled():  # the next start is none of the engine's
            await self._run_log.is_not_repeated()
        return state

    async def stopped(self, reason: StopReason, message: str) -> State[None]:
        """See to a task whose agent was stopped."""
        match reason:
            case StopReason.SHUTDOWN:
                return await self._handed_back("Worker is shutting down")
            case StopReason.CUT_OFF:
                return await self._handed_back("Worker was cut off from Prefect")
            case StopReason.DELETED:
                return await self._handed_back(_capitalised(message))
            case StopReason.SUSPENDED:
                return await self._handed_back(_capitalised(message))
            case StopReason.ENDED:
                if self._is_ours(queue := await self._place.queue()):
                    text = f"Agent stopped: {message}; leaving in {queue!r}."
                    await self._even_if_refused(self._place.comment(text))
                await self._run_log.close()
                return Cancelled(message=message)
            case StopReason.MOVED_AWAY:
                text = message or "the task was moved away"
                await self._even_if_refused(self._place.comment(f"Agent stopped: {text}."))
                await self._run_log.close()
                return Cancelled(message=text)
            case _:
                await self._even_if_refused(self._cancelled(message))
                await self._run_log.close()
                return Cancelled(message=message or "Cancelled.")

    async def without_prefect(self, result: AgentResult | None) -> None:
        """See to the board alone: the worker stops while Prefect is away.

        The next worker finds the run and goes on with it.

        Args:
            result: what the attempt came to; None if it was stopped.
        """
        if result is not None and result.succeeded:
            await self._succeeded()
        elif await self._place.queue() == self._route.in_progress_queue:
            why = "Worker is shutting down" if result is None else f"Agent failed ({result.reason})"
            await self._place.comment(
                f"{why}, and Prefect is away; returned to queue, attempt {self._run_log.attempt}."
            )
            await self._place.move(self._route.queue_name)

    async def _even_if_refused(self, work: Awaitable[None]) -> None:
        try:
            await work
        except BoardError as exc:
            self._log.error(
                "The board refuses what is due to task %s: %s",
                self._task_id,
                exc,
                extra={"action": "board_refused"},
            )

    async def _handed_back(self, why: str) -> State[None]:
        """Return the task to its queue, or have the next start take it from where it is."""
        try:
            return await self._return_to_queue(why)
        except BoardError as exc:
            self._log.error(
                "The task stays in progress, and is ours: %s",
                exc,
                extra={"action": "board_refused"},
            )
            await self._run_log.keep_claim()
            await self._run_log.give_back()
            state: State[None] = AwaitingRetry(scheduled_time=self._app.clock.now())
            state.message = f"{why}; {exc}"
            return state

    async def _keep(self, refusal: BoardError) -> State[None]:
        """Have a later start say what came of the attempt; free the slot until then.

        The route is paused, unless it is this task alone that the board refuses. Where the route
        was paused for what the attempt came to, or waits for a limit, the task's way back is all
        that is left: that start makes the attempt anew, with the task from where it is.
        """
        text = f"The board refuses what is due to task {self._task_id!r}: {refusal}"
        where = (self._run_log.prefect, self._app, self._route, self._run_log.run.id)
        others = self._place.is_taken_of_others()
        due = await refused_until(*where, refusal, self._log, is_taken_of_others=others)
        if self._is_paused or self._limit is not None:
            await self._run_log.keep_claim()
            await self._run_log.delivered()
            self._log.error(
                "The task stays in progress, and is ours: %s",
                refusal,
                extra={"action": "board_refused"},
            )
            return await self._given_back(text, due)
        await self._run_log.keep()
        self._log.error("%s It is kept, and tried again.", text, extra={"action": "attempt_kept"})
        self._app.local_runs.wake(due)
        return Scheduled(name=StateName.WAITING_FOR_BOARD, scheduled_time=due, message=text)

    async def _succeeded(self) -> State[None]:
        say = self._place.comment
        parts = (self._app, self._route, self._run_log, self._task_id, say, self._log)
        if (instead := await published(*parts, self._again)) is not None:
            return instead
        task = await self._place.task()
        queue = None if task is None else task.queue_name
        if task is not None and queue == self._route.in_progress_queue:
            goes = await go_on(*parts[:3], task, say, self._place.move, self._log)
            if isinstance(goes, State):
                return goes
            queue = goes
        place = "is gone from the board" if queue is None else f"is in {queue!r}"
        return Completed(message=f"Attempt {self._run_log.attempt} succeeded; the task {place}.")

    async def _again(self, why: str) -> State[None]:
        """Have another agent go on with a task whose agent had succeeded; it costs no attempt."""
        await self._run_log.delivered()
        await self._run_log.give_back()  # noted first: a poll must not take the move for a person's
        await self._put_back()
        await self._run_log.goes_on()
        return await self._given_back(why, self._app.clock.now())

    def _may_retry(self, result: AgentResult) -> bool:
        return result.retryable and self._run_log.attempts_left

    async def _retry(self, result: AgentResult) -> State[None]:
        text = f"{self._retrying(result)} Moving back to source queue for retry."
        await self._place.comment(text, result.output_tail)
        if not await self._place.move(self._route.queue_name):
            await self._run_log.rule_out_retries()
            return _failed(result, f"{result.reason}; there is no queue to retry it from")
        return self._awaiting_retry(result)

    def _retrying(self, result: AgentResult) -> str:
        return f"Retry {self._run_log.attempt}/{self._route.retry.max_retries}: {result.reason}."

    def _awaiting_retry(self, result: AgentResult) -> State[None]:
        delay = retry_delay(self._route.retry, self._run_log.attempt, self._route.poll_interval)
        due = self._app.clock.now() + delay
        self._app.local_runs.wake(due)
        state: State[None] = AwaitingRetry(scheduled_time=due)
        state.message = self._retrying(result)
        return state

    async def _pause_route(self, result: AgentResult, what: str) -> State[None]:
        """The cause is not the tasks: stop the route instead of giving them up."""
        name = self._route.name
        text = f"Route {name!r} is paused: {what} ({result.reason})."
        if self._interrupted and await self._place.has_said(text):  # a person may have resumed it
            await self._put_back()
            return await self._given_back(text, self._app.clock.now())
        await self._run_log.give_back()
        after = self._route.resume_after
        resume_at = None if after is None else self._app.clock.now() + after
        due = self._app.clock.now()
        try:
            await pausing.pause(
                self._run_log.prefect,
                self._app.name,
                name,
                was=self._route.was,
                reason=text,
                resume_at=resume_at,
            )
        except DispatchError as exc:
            # Its tasks are kept all the same, and none of them is tried again for a while.
            due += after or _UNPAUSED_WAIT
            text = f"Route {name!r} should be paused ({what}: {result.reason}), and cannot be"
            text = f"{text}: {exc} This task is tried again at {due:%Y-%m-%d %H:%M} UTC."
            self._log.error("%s", text, extra={"action": "route_not_paused"})
        else:
            self._is_paused = True
            again = "by hand only" if resume_at is None else f"at {resume_at:%H:%M} UTC"
            self._log.error(
                "%s It tries again %s; once the cause is mended: athanore resume %r",
                text,
                again,
                name,
                extra={"action": "route_paused"},
            )
        await self._place.comment(f"{text} Moving back to source queue.", result.output_tail)
        await self._put_back()
        return await self._given_back(text, due)

    async def _wait(self, limit: provider_limits.Wait, result: AgentResult) -> State[None]:
        """The task pays nothing for its provider's limit, or a day's budget: it waits."""
        await self._run_log.give_back()
        await self._place.comment(f"{limit.text}. Moving back to source queue.", result.output_tail)
        await self._put_back()
        return await self._given_back(f"{limit.text}.", limit.due)

    async def _given_back(self, text: str, due: datetime) -> State[None]:
        """The state of a run whose attempt does not count."""
        await self._run_log.give_back()
        self._app.local_runs.wake(due)
        state: State[None] = AwaitingRetry(scheduled_time=due)
        state.message = text
        return state

    async def _put_back(self) -> None:
        """Move the task back to its queue; where the board refuses, the next start takes it."""
        if not await self._place.move(self._route.queue_name):
            await self._run_log.keep_claim()

    def _is_ours(self, queue: str | None) -> bool:
        """Whether a task in this queue is where its run has put it: at work, or to wait there."""
        return queue is not None and queue in (
            self._route.in_progress_queue,
            self._run_log.record.place,
        )

    async def _return_to_queue(self, why: str) -> State[None]:
        queue = await self._place.queue()
        if not self._is_ours(queue) and queue != self._route.queue_name:
            place = "is gone from the board" if queue is None else f"is in {queue!r}"
            return Cancelled(name=StateName.STOPPED, message=f"{why}; the task {place}.")
        # Noted first: a poll must not take the move for a person's.
        await self._run_log.give_back()
        if queue == self._route.in_progress_queue:
            await self._place.comment(f"{why}; returned to queue, attempt {self._run_log.attempt}.")
            if not await self._place.move(self._route.queue_name):
                await self._run_log.close()
                return Cancelled(name=StateName.NOWHERE_TO_GO, message=f"{why}; its queue is gone.")
        elif queue != self._route.queue_name:
            await self._run_log.keep_claim()  # it waits there, and is taken from there
        state: State[None] = AwaitingRetry(scheduled_time=self._app.clock.now())
        state.message = f"{why}."
        return state

    async def _cancelled(self, message: str) -> None:
        queue = await self._place.queue()
        why = f" ({message})" if message else ""
        if not self._is_ours(queue):
            if queue not in (None, self._route.queue_name):
                await self._place.comment(
                    f"Cancelled{why}: agent stopped; the task was in {queue!r} by then."
                )
            return
        target = self._route.on_cancel
        if target is None:
            await self._place.comment(f"Cancelled{why}: agent stopped; leaving in {queue!r}.")
        else:
            await self._place.comment(f"Cancelled{why}: agent stopped; moving to {target!r}.")
            await self._place.move(target, followed=False)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _failed(result: AgentResult, message: str) -> State[None]:
    name = _FAILURES.get(result.outcome, PrefectState.FAILED)
    return Failed(name=name, message=message)


def _with_tail(result: AgentResult) -> str:
    return _joined(result.reason, result.output_tail)


def _joined(text: str, tail: str) -> str:
    return f"{text}\n{tail}" if tail.strip() else text
