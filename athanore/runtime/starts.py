"""Who may start an agent for a task: nobody while an earlier start may still have one.

A start notes its id with its holder, and notes again that it has let go once its agent is dead. One
that has not said so may have a living agent, although its run was suspended, ended, or given to
another worker by hand. It is over when its process is gone, or when its worker has had
`worker_lost_after` to hear of it: by then it has stopped its agent, or has lost its lease.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from athanore import names
from athanore.processes import identity
from athanore.processes.supervisor import stop_orphans
from athanore.runs import store
from athanore.runs.port import RunStore
from athanore.runs.records.record import record_of
from athanore.runtime.apps import App


async def earlier(prefect: RunStore, app: App, run: FlowRun) -> str | None:
    """Say which earlier start of a run, or of its task's last run, may have a living agent."""
    for candidate in (run, await _last_visit(prefect, app, run)):
        if candidate is not None and not await is_over(prefect, app, candidate):
            worker = record_of(candidate).worker or "a stock worker"
            return f"an earlier start of this task may still be at work on {worker}"
    return None


async def is_over(prefect: RunStore, app: App, run: FlowRun) -> bool:
    """Tell whether no agent of a run's last start can be alive; the run is not that start's now."""
    record = record_of(run)
    start = record.living_start
    if start is None:
        return True
    if record.process == identity.process():
        return not app.local_runs.is_running(run.id) or app.local_runs.start_of(run.id) != start
    if identity.is_gone(record.process):
        await stop_orphans()  # its reaper may be at it still, or may be dead as well
        return True
    return await _since_taken(prefect, app, run, start) > app.dispatcher.settings.lost_after


async def _since_taken(prefect: RunStore, app: App, run: FlowRun, start: str) -> timedelta:
    """How long ago a run left the state in which a start had it, by Prefect's clock."""
    states = await prefect.read_states(run.id)
    history = sorted(states, key=lambda s: s.timestamp)
    place = next((i for i, s in enumerate(history) if str(s.id) == start), None)
    following = history[-1:] if place is None else history[place + 1 :]
    # A cancellation is still the start's own affair.
    taken = [s for s in following if s.type is not StateType.CANCELLING]
    return app.clock.now() - taken[0].timestamp if taken else timedelta(0)


async def _last_visit(prefect: RunStore, app: App, run: FlowRun) -> FlowRun | None:
    """The task's run before this one, which this one's key names; the first start asks for it."""
    task_id = names.task_of(run.tags)
    visit = store.visit_of(run)
    if task_id is None or visit == store.FIRST_VISIT or record_of(run).starts:
        return None
    try:
        return await prefect.read_run(UUID(visit))
    except (ValueError, ObjectNotFound):
        return None
