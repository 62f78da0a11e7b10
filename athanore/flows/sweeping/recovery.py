"""Putting right what no flow and no hook could: for the runs of one route, part of every sweep.

A task that an agent run had is returned to its queue when the run's worker is lost, or gets the
dead-letter move that was due while the board was away. Cards that people put in progress are
theirs: only tasks with a run of this route are touched. Every step may be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Crashed, Failed

from athanore import names
from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    NotFoundError,
    QueueNotFoundError,
)
from athanore.flows.ends import hooks
from athanore.flows.ends.outcome import Conclusion
from athanore.flows.sweeping.lost import LostWorkers
from athanore.logs import Log
from athanore.models import AgentResult, Task
from athanore.processes import identity
from athanore.processes.supervisor import stop_orphans
from athanore.routing.routes import Route
from athanore.runs import store
from athanore.runs.clearing import ended_first, is_wished
from athanore.runs.port import RunStore
from athanore.runs.records.own_moves import has_moved_itself
from athanore.runs.records.record import holder_of, record_of, result_of
from athanore.runs.records.route_record import as_begun
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime import starts
from athanore.runtime.apps import App
from athanore.runtime.leases.local_runs import StopReason


class Recovery:
    """Looks after the runs and tasks of one route.

    Attributes:
        notes: what was done, for people.
    """

    def __init__(self, prefect: RunStore, app: App, route: Route, log: Log) -> None:
        self._prefect = prefect
        self._app = app
        self._route = route
        self._log = log
        self._workers = LostWorkers(prefect, app)
        self.notes: list[str] = []

    def has_put(self, run: FlowRun, queue: str) -> bool:
        """Tell whether a run has put its task into this queue: to work on it, or to wait there."""
        return queue in (
            self._route.in_progress_queue,
            self._as_begun(run).in_progress_queue,
            record_of(run).place,
        )

    def _as_begun(self, run: FlowRun, place: str | None = None) -> Route:
        """The route as it was for a run's last start; `place` is where the task is, if known."""
        return self._route if place == self._route.in_progress_queue else as_begun(self._route, run)

    async def _place_of(self, task_id: str) -> str | None:
        """The queue of a task on the board; None if the task is gone."""
        try:
            return (await self._app.board.task(task_id)).queue_name
        except NotFoundError:
            return None

    def tell(self) -> None:
        """Log what was done since the last time."""
        if self.notes:
            self._log.info(
                "%s: %s",
                self._route.name,
                "; ".join(self.notes),
                extra={"action": "looked_after"},
            )
            self.notes.clear()

    async def _apart(self, task_id: str | None, work: Awaitable[None]) -> bool:
        """See to one run or task, and say whether that could be done.

        What the board refuses for one task is told on that task, and the route goes on.

        Raises:
            BoardUnavailableError, BoardAccessError: the board answers nobody, or not us.
        """
        try:
            await work
        except (BoardUnavailableError, BoardAccessError):
            raise
        except BoardError as exc:
            self._log.error("Task %s: %s", task_id, exc, extra={"action": "recovery_refused"})
            self.notes.append(f"task {task_id!r}: {exc}")
            # What is only in doubt is looked for by the next sweep.
            if task_id is not None and not isinstance(exc, AnswerLostError):
                await self._tell(task_id, f"What is due to this task cannot be done: {exc}")
            return False
        return True

    async def _tell(self, task_id: str, text: str) -> None:
        """Comment once for all on a task, if it takes comments."""
        board = self._app.board
        try:
            if all(c.text != text for c in (await board.task(task_id)).comments):
                await board.comment(task_id, text)
        except (BoardUnavailableError, BoardAccessError):
            raise
        except BoardError as exc:
            self._log.warning(
                "No comment on task %s: %s", task_id, exc, extra={"action": "comment_refused"}
            )

    # -- runs that should be at work ----------------------------------------------------------

    async def look_for_lost(self, active: Sequence[FlowRun]) -> set[UUID]:
        """Put right those runs of the route whose worker is lost, and return their ids."""
        if self._app.local_runs.since_return() < self._app.margins.returning:
            return set()
        found = await self._workers.find_lost(active)
        for run, sure in found:
            task_id = names.task_of(run.tags)
            if task_id is None:
                continue  # started by hand, on its way to hand over
            if run.state_type is not StateType.PENDING:
                await self._apart(task_id, self.recover(run, task_id, sure=sure))
            elif await self._now(run) is not None:
                await self._reschedule(run, "Its worker was lost before it began.")
        return {run.id for run, _ in found}

    async def look_for_moved(
        self, active: Sequence[FlowRun], queues: Mapping[str, str], missing: Iterable[str] = ()
    ) -> None:
        """Stop those agents of the route whose tasks somebody has moved away.

        Args:
            active: the route's runs, without those of lost workers.
            queues: the queues of tasks, as they were before these runs were found.
            missing: queues that the board has no more. A task that was put there has not been
                moved because its queue is called otherwise now.
        """
        for run in active:
            if any(self.has_put(run, queue) for queue in missing):
                continue
            task_id = names.task_of(run.tags)  # none: started by hand, on its way to hand over
            if task_id and run.state_type is StateType.RUNNING:
                await self._apart(task_id, self._check_place(run, task_id, queues.get(task_id)))

    async def _now(self, run: FlowRun) -> FlowRun | None:
        """Read a run again; None if it has changed its state since it was judged."""
        now = await self._prefect.read_run(run.id)
        same = now.state is not None and run.state is not None and now.state.id == run.state.id
        return now if same else None

    async def recover(self, run: FlowRun, task_id: str, *, sure: bool = True) -> None:
        """End a run of a lost worker and see to its task; of several callers one does.

        Args:
            sure: no agent of the run can be alive. Else the worker, if it is there after all, is
                given the time to hear of it first, and a later look returns the task.
        """
        if stopped := await stop_orphans():
            self._log.warning(
                "Stopped the agents of %s lost run(s).",
                stopped,
                extra={"action": "lost_agents_stopped"},
            )
        # That took a while: meanwhile another sweep may have done all of this, and the next worker
        # may be at work on the same run.
        now = await self._now(run)
        if now is None:
            return
        state: State[None] = Crashed(message=f"Worker {record_of(run).worker} was lost.")
        if now.state is not None and now.state_type is StateType.CANCELLING:
            state = Cancelled(message=now.state.message)  # Prefect lets it become nothing else
        answer = await self._prefect.propose(run.id, state)
        if not answer.accepted:
            return
        if state.is_cancelled() and not await ended_first(self._prefect, now, answer.state):
            return  # another host sees to its task
        if sure:
            await RunLog(self._prefect, now, self._route.retry).leave()
        if run.state_type is StateType.CANCELLING:
            await self._finish_cancellation(now, task_id)
        else:
            await self.return_crashed(now, task_id)

    async def _finish_cancellation(self, run: FlowRun, task_id: str) -> None:
        """A person had cancelled the run, and its worker was lost before it could end it."""
        await self._prefect.impose(run.id, await self._cancelled(run, task_id))

    async def _cancelled(self, run: FlowRun, task_id: str) -> State[None]:
        """See to the task of a run that a person has cancelled."""
        book = RunLog(self._prefect, run, self._route.retry)
        route = self._as_begun(run, await self._place_of(task_id))
        where = (self._app, route, book, task_id, self._log)
        conclusion = Conclusion(*where, interrupted=True)
        message = (run.state.message if run.state else None) or ""
        return await conclusion.stopped(StopReason.CANCELLED, message)

    async def return_crashed(self, run: FlowRun, task_id: str) -> None:
        """Give the task of a crashed run back, or finish what its attempt had come to.

        Not while the start that had it may have an agent: a person or an automation may have set
        the state.
        """
        if not await starts.is_over(self._prefect, self._app, run):
            return
        record, place = record_of(run), await self._place_of(task_id)
        route = self._as_begun(run, place)
        book = RunLog(self._prefect, run, route.retry)
        conclusion = Conclusion(self._app, route, book, task_id, self._log, interrupted=True)
        if (result := result_of(run)) is not None:
            await self._finish(run, conclusion, result, task_id)
            return
        in_progress = place == route.in_progress_queue
        waits = not in_progress and bool(place) and place == record.place
        if not in_progress and not waits and place != route.queue_name:
            await book.close()
            return
        let_go = record.is_given_back and record.is_of_count(run.run_count)
        crashes = record.crashes + (not let_go)
        allowed = self._route.retry.max_crashes
        if in_progress and crashes > allowed:
            text = f"Max crashes ({allowed}) exhausted."
            await hooks.bury(self._app, self._route, run, text, self._log, opening=text)
            await book.close()
            self.notes.append(f"{run.name!r}: {text}")
            return
        if in_progress:
            text = f"Worker lost; returned to queue, attempt {book.attempt}."
            said = text.removeprefix("Worker lost") if let_go else None
            await hooks.comment_once(self._app.board, task_id, text, said)
            await self._app.board.move(task_id, route.queue_name)
            self.notes.append(f"{run.name!r}: worker lost, returned to queue")
        await book.give_back(crash=not let_go)
        if waits:
            await book.keep_claim()  # the next start takes it from where it waits
        await self._reschedule(run, "The worker was lost.")

    async def _finish(
        self, run: FlowRun, conclusion: Conclusion, result: AgentResult, task_id: str
    ) -> None:
        """The agent had ended, and its worker was lost before it could say so."""
        if result.succeeded and self._route.publish is not None:
            # The branch is on the worker's host, and may be large: a start of the run sees to it.
            await RunLog(self._prefect, run, self._route.retry).keep()
            await self._reschedule(run, "The worker was lost before it was said what came of it.")
            return
        state = await conclusion.deliver(result)
        if state.is_scheduled() and run.work_queue_id is None:
            await self._reschedule(run, state.message or "It was to be tried again.")
            return
        await self._prefect.impose(run.id, state)
        if state.is_failed():
            await hooks.bury(self._app, self._route, run, result.reason, self._log)
            await RunLog(self._prefect, run, self._route.retry).close()
        self.notes.append(f"{run.name!r}: ended ({result.outcome}), its worker was lost afterwards")

    async def _reschedule(self, run: FlowRun, why: str) -> None:
        if run.work_queue_id is None:
            # The deployment that its route had under a former name is deleted: it is never offered.
            message = f"{why} The next poll of {self._route.name!r} takes the task."
            await self._prefect.impose(
                run.id, Cancelled(name=StateName.SUPERSEDED, message=message)
            )
            await RunLog(self._prefect, run, self._route.retry).close()
            return
        state = AwaitingRetry(scheduled_time=self._app.clock.now(), message=why)
        await self._prefect.impose(run.id, state)
        self._app.local_runs.wake()

    async def _check_place(self, run: FlowRun, task_id: str, queue: str | None) -> None:
        """Stop the agent of a task that somebody moved away behind our back."""
        if self._app.local_runs.since_return() < self._app.margins.catching_up:
            return
        # Until a run has claimed its task, the task is rightly elsewhere.
        if (queue and self.has_put(run, queue)) or not await self._has_claimed(run):
            return
        # The board first, then the run: what a run did to its task itself it has noted before.
        queue = await self._place_of(task_id)
        now = await self._now(run)
        if now is None or (queue and self.has_put(now, queue)):
            return
        if result_of(now) is not None or record_of(now).is_given_back:
            return
        if await has_moved_itself(self._prefect, now):
            return
        if self._app.local_runs.is_running(run.id) and not self._app.local_runs.is_at_work(run.id):
            return
        text = "the task was deleted" if queue is None else f"the task was moved to {queue!r}"
        state = Cancelling(name=StateName.MOVED_AWAY, message=text)
        await self._prefect.impose(run.id, state)
        self.notes.append(f"{run.name!r}: agent stopped, {text}")

    async def _has_claimed(self, run: FlowRun) -> bool:
        """Tell whether this start of a run has got as far as its agent."""
        if self._app.local_runs.is_held(run.id) or self._app.local_runs.is_running(run.id):
            return self._app.local_runs.is_at_work(run.id)
        since = run.state.timestamp if run.state else None
        if since is None or self._workers.age_of(run) < self._app.margins.noting:
            return False
        return await self._prefect.has_attempt(run.id, since)

    async def resume(self, last: FlowRun, task: Task) -> bool:
        """See to the last run of a ready task, if that is unfinished business; True if it was."""
        if record_of(last).is_closed or store.route_name(last) not in self._route.names:
            return False
        if last.state_type is StateType.CRASHED:
            if self._workers.age_of(last) > self._app.margins.recovering:
                await self._apart(task.id, self.return_crashed(last, task.id))
            return True
        if last.state_type is StateType.CANCELLED and await is_wished(self._prefect, last):
            await self._apart(task.id, self._put_aside(last, task))
            return True
        return False

    async def _put_aside(self, run: FlowRun, task: Task) -> None:
        """A person cancelled the waiting run: no poll starts the task against their will."""
        reason = (run.state.message if run.state else None) or ""
        why = f"Cancelled{f' ({reason})' if reason else ''}"
        target = self._route.on_cancel or self._route.in_progress_queue
        record = record_of(run)
        made = record.starts - record.given_back
        when = f"attempt {made + 1}" if made > 0 else "an agent"
        text = f"{why} before {when} started; moving to {target!r}. Move it back to run it."
        await hooks.comment_once(self._app.board, task.id, text)
        try:
            await self._app.board.move(task.id, target)
        except QueueNotFoundError as exc:
            if target == self._route.in_progress_queue:
                raise
            target = self._route.in_progress_queue
            await self._tell(task.id, f"{exc} Moving to {target!r} instead.")
            await self._app.board.move(task.id, target)
        await RunLog(self._prefect, run, self._route.retry).close()
        self.notes.append(f"{run.name!r}: cancelled, moved to {target!r}")

    # -- tasks that nobody works on -----------------------------------------------------------

    async def finish(self, last: FlowRun, task_id: str) -> bool:
        """Do what is due to a task in progress whose last run has ended; True if nothing is left.

        Args:
            last: the newest finished run of the task, of this route.
        """
        if await self._is_being_closed(last):
            return False
        return await self._apart(task_id, self._close(last, task_id))

    async def _is_being_closed(self, run: FlowRun) -> bool:
        """Tell whether somebody else sees to the end of a run just now: its hook, another sweep."""
        if run.state_type is StateType.CRASHED:
            over = await starts.is_over(self._prefect, self._app, run)
            return not over or self._workers.age_of(run) < self._app.margins.recovering
        if run.state_type is StateType.CANCELLED:  # by a worker that it was lost to, it may be
            return self._workers.age_of(run) < self._app.margins.recovering
        holder = holder_of(run)
        if run.state_type is not StateType.FAILED or holder is None:
            return False
        return self._workers.age_of(run) < self._app.margins.board * 2 and not identity.is_gone(
            holder.process
        )

    async def _close(self, run: FlowRun, task_id: str) -> None:
        match run.state_type:
            case StateType.CRASHED:
                await self.return_crashed(run, task_id)
            case StateType.FAILED:
                state = run.state or Failed()
                await hooks.bury_failed(self._app, self._route, run, state, self._log)
                await RunLog(self._prefect, run, self._route.retry).close()
                self.notes.append(f"{run.name!r}: dead letter made up for")
            case StateType.CANCELLED if record_of(run).may_have_its_task:
                if not await is_wished(self._prefect, run):
                    return
                # It was cancelled while it waited with its task elsewhere than in its queue.
                await self._cancelled(run, task_id)
                self.notes.append(f"{run.name!r}: cancelled; its task was seen to")
            case _:
                return
