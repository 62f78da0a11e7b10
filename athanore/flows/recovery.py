"""Putting right what no flow and no hook could: part of every poll.

A task that an agent run had is returned to its queue when the run's worker is lost, or gets the
dead-letter move that was due while the board was away. Cards that people put in progress are
theirs: only tasks with a run of this route are touched. Every step may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import AwaitingRetry, Cancelling, Crashed

from athanore import identity, names
from athanore.agent_adapters.supervisor import stop_orphans
from athanore.errors import NotFoundError
from athanore.flows import apps, control, hooks, ledger, runs
from athanore.flows.conclusion import Conclusion
from athanore.flows.ledger import Ledger
from athanore.flows.liveness import Liveness
from athanore.flows.transcript import Log
from athanore.models import AgentOutcome, AgentResult, Task
from athanore.routes import Route

# Between two requests of a healthy run: Pending to Running, Running to the claim.
_STARTING = timedelta(seconds=60)

_liveness: dict[str, Liveness] = {}
_settled: dict[tuple[str, str], set[str]] = {}


class Recovery:
    """Looks after the runs and tasks of one route during a poll."""

    def __init__(self, client: PrefectClient, app: apps.App, route: Route, log: Log) -> None:
        self._client = client
        self._app = app
        self._route = route
        self._log = log
        self.notes: list[str] = []

    async def look(self, ready: Sequence[Task], in_progress: Sequence[Task]) -> None:
        """Find what is wrong with the route's runs and tasks, and put it right."""
        states = (StateType.PENDING, *runs.WORKING)
        active = await runs.find_runs(
            self._client, self._app.name, states, queue_name=self._route.queue_name
        )
        await self._observe_workers(active)
        queues = {t.id: t.queue_name for t in (*ready, *in_progress)}
        for run in active:
            await self._look_at_run(run, queues)
        held = {names.task_of(r.tags) for r in active}
        await self._look_at_tasks([t for t in in_progress if t.id not in held])

    # -- runs that should be at work ----------------------------------------------------------

    async def _look_at_run(self, run: FlowRun, queues: dict[str, str]) -> None:
        task_id = names.task_of(run.tags)
        if task_id is None:
            return  # started by hand, on its way to hand over
        age = _age(run)
        if run.state_type is StateType.PENDING:
            if age > 2 * _STARTING:
                await self._reschedule(run, "Its start got lost.")
            return
        if await self._worker_is_gone(run, age):
            await self.recover(run, task_id)
        elif run.state_type is StateType.RUNNING:
            await self._check_place(run, task_id, queues.get(task_id), age)

    async def _worker_is_gone(self, run: FlowRun, age: timedelta) -> bool:
        process = run.labels.get(ledger.PROCESS)
        if process is None:
            return age > 2 * _STARTING and not control.is_running(run.id)
        gone = identity.is_gone(str(process))
        if gone is None:
            return self._watch.is_lost(str(run.labels.get(ledger.WORKER)))
        return gone

    @property
    def _watch(self) -> Liveness:
        after = timedelta(seconds=self._app.dispatcher.settings.worker_lost_after)
        return _liveness.setdefault(self._app.name, Liveness(after))

    async def _observe_workers(self, active: Sequence[FlowRun]) -> None:
        """Look at the workers' heartbeats, if any run is on a host that we cannot look into."""
        processes = [str(r.labels[ledger.PROCESS]) for r in active if ledger.PROCESS in r.labels]
        if all(identity.is_gone(p) is not None for p in processes):
            return
        pool = names.agents_pool(self._app.name)
        workers = await self._client.read_workers_for_work_pool(pool, offset=0, limit=200)
        self._watch.observe({w.name.split(" ")[0]: w.last_heartbeat_time for w in workers})

    async def recover(self, run: FlowRun, task_id: str) -> None:
        """Mark a run of a lost worker as Crashed and see to its task; one caller wins."""
        if stopped := await stop_orphans():
            self._log.warning("Stopped the agents of %s lost run(s).", stopped)
        answer = await self._client.set_flow_run_state(
            run.id, Crashed(message=f"Worker {run.labels.get(ledger.WORKER, '')} was lost.")
        )
        if answer.status is not SetStateStatus.ACCEPT:
            return
        if run.state_type is StateType.CANCELLING:
            await self._finish_cancellation(run, task_id)
        else:
            await self.return_crashed(run, task_id)

    async def _finish_cancellation(self, run: FlowRun, task_id: str) -> None:
        """A person had cancelled the run, and its worker was lost before it could end it."""
        book = Ledger(self._client, run, self._route.retry)
        conclusion = Conclusion(self._app, self._route, book, task_id, self._log)
        message = (run.state.message if run.state else None) or ""
        state = await conclusion.stopped(control.StopReason.CANCELLED, message)
        await self._client.set_flow_run_state(run.id, state, force=True)

    async def return_crashed(self, run: FlowRun, task_id: str) -> None:
        """Give the task of a crashed run back, or finish what its attempt had come to."""
        book = Ledger(self._client, run, self._route.retry)
        conclusion = Conclusion(self._app, self._route, book, task_id, self._log)
        if (outcome := ledger.outcome_of(run)) is not None:
            await self._finish(run, conclusion, outcome, task_id)
            return
        try:
            place = (await self._app.board.task(task_id)).queue_name
        except NotFoundError:
            place = None
        if place not in (self._route.in_progress_queue, self._route.queue_name):
            await book.close()
            return
        crashes = ledger.crashes_of(run) + 1
        allowed = self._route.retry.max_crashes
        if place == self._route.in_progress_queue and crashes > allowed:
            text = f"Max crashes ({allowed}) exhausted."
            await hooks.bury(self._app, self._route, task_id, text, self._log, opening=text)
            await book.close()
            self.notes.append(f"{run.name!r}: {text}")
            return
        if place == self._route.in_progress_queue:
            text = f"Worker lost; returned to queue, attempt {book.attempt}."
            await hooks.comment_once(self._app.board, task_id, text)
            await self._app.board.move(task_id, self._route.queue_name)
            self.notes.append(f"{run.name!r}: worker lost, returned to queue")
        await book.give_back(crash=True)
        await self._reschedule(run, "The worker was lost.")

    async def _finish(
        self, run: FlowRun, conclusion: Conclusion, outcome: AgentOutcome, task_id: str
    ) -> None:
        """The agent had ended, and its worker was lost before it could say so."""
        reason = str(run.labels.get(ledger.REASON, "")) or outcome.value
        state = await conclusion.follow(AgentResult(outcome, reason))
        await self._client.set_flow_run_state(run.id, state, force=True)
        if state.is_failed():
            await hooks.bury(self._app, self._route, task_id, reason, self._log)
            await Ledger(self._client, run, self._route.retry).close()
        self.notes.append(f"{run.name!r}: ended ({outcome}), its worker was lost afterwards")

    async def _reschedule(self, run: FlowRun, why: str) -> None:
        state = AwaitingRetry(scheduled_time=datetime.now(UTC), message=why)
        await self._client.set_flow_run_state(run.id, state, force=True)
        control.wake()

    async def _check_place(
        self, run: FlowRun, task_id: str, queue: str | None, age: timedelta
    ) -> None:
        """Stop the agent of a task that somebody moved away behind our back."""
        in_progress = self._route.in_progress_queue
        # Until a run has claimed its task, the task is rightly elsewhere. Of a run of another
        # process only its age tells; those of this one say so themselves.
        settled = control.is_at_work(run.id) or age > _STARTING / 2
        if queue == in_progress or not settled:
            return
        # The board first, then the run: what a run did to its task itself it has noted before.
        try:
            queue = (await self._app.board.task(task_id)).queue_name
        except NotFoundError:
            queue = None
        now = await self._client.read_flow_run(run.id)
        ended = now.state_type is not StateType.RUNNING or ledger.outcome_of(now) is not None
        if queue == in_progress or ended or ledger.MOVED in now.labels:
            return
        if control.is_running(run.id) and not control.is_at_work(run.id):
            return
        text = "the task was deleted" if queue is None else f"the task was moved to {queue!r}"
        state = Cancelling(name=control.MOVED_AWAY_STATE, message=text)
        await self._client.set_flow_run_state(run.id, state, force=True)
        self.notes.append(f"{run.name!r}: agent stopped, {text}")

    async def resume(self, last: FlowRun, task: Task) -> bool:
        """See to the last run of a ready task, if that is unfinished business; True if it was."""
        if ledger.is_closed(last) or last.parameters.get("queue_name") != self._route.queue_name:
            return False
        if last.state_type is StateType.CRASHED:
            await self.return_crashed(last, task.id)
            return True
        if last.state_type is StateType.CANCELLED and last.state_name == "Cancelled":
            await self._put_aside(last, task)
            return True
        return False

    async def _put_aside(self, run: FlowRun, task: Task) -> None:
        """A person cancelled the waiting run: no poll starts the task against their will."""
        target = self._route.on_cancel or self._route.in_progress_queue
        text = f"Cancelled before an agent started; moving to {target!r}. Move it back to run it."
        await hooks.comment_once(self._app.board, task.id, text)
        await self._app.board.move(task.id, target)
        await Ledger(self._client, run, self._route.retry).close()
        self.notes.append(f"{run.name!r}: cancelled, moved to {target!r}")

    # -- tasks that nobody works on -----------------------------------------------------------

    async def _look_at_tasks(self, idle: Sequence[Task]) -> None:
        """Finish what is due to tasks in progress that have no active run."""
        settled = _settled.setdefault((self._app.name, self._route.queue_name), set())
        settled &= {t.id for t in idle}
        open_tasks = [t.id for t in idle if t.id not in settled]
        last = await runs.last_finished_runs(self._client, self._app.name, open_tasks)
        waiting = await runs.active_runs(self._client, self._app.name, open_tasks)
        for task_id in open_tasks:
            run = last.get(task_id)
            if task_id in waiting:
                continue
            ours = run is not None and run.parameters.get("queue_name") == self._route.queue_name
            if run is None or not ours or run.state is None or ledger.is_closed(run):
                settled.add(task_id)
                continue
            await self._close(run, task_id)
            settled.add(task_id)

    async def _close(self, run: FlowRun, task_id: str) -> None:
        match run.state_type:
            case StateType.CRASHED:
                await self.return_crashed(run, task_id)
            case StateType.FAILED:
                reason = (run.state.message if run.state else "") or "failed"
                await hooks.bury(self._app, self._route, task_id, reason, self._log)
                await Ledger(self._client, run, self._route.retry).close()
                self.notes.append(f"{run.name!r}: dead letter made up for")
            case _:
                return


def _age(run: FlowRun) -> timedelta:
    """How long the run has been in its state."""
    since = run.state.timestamp if run.state else None
    return timedelta(0) if since is None else datetime.now(UTC) - since
