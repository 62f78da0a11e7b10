"""What a worker hears of a run that it has: whether the start is still its own.

A person, an automation or another worker may have cancelled, suspended, ended, deleted or taken
over the run. All of that is heard like a cancellation: the agent is stopped.
"""

from __future__ import annotations

from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

from athanore.runs.records.record import Start, record_of
from athanore.runs.states import StateName
from athanore.runtime.leases.local_runs import LocalRuns, RunControl, StopReason

FORGOTTEN = "Prefect has forgotten that it works here; was it restored from a backup?"

type Verdict = tuple[StopReason, str]


def hear(
    local_runs: LocalRuns, run_id: UUID, now: FlowRun | None, handle: RunControl | None
) -> None:
    """Stop the agent of a run of this process, if what Prefect says of the run asks for it.

    Args:
        local_runs: where the run is registered, or will be.
        now: the run as it is now; None if it is deleted.
        handle: what this process had of the run *before* it asked; None if its flow had not begun.
    """
    if handle is not None and handle.start is not None:
        if (found := judge(handle.start, now)) is not None:
            handle.stop(*found)
    elif now is not None and now.state_type is StateType.CANCELLING:
        local_runs.stop(run_id, *_cancelling(now))


def judge(start: Start, now: FlowRun | None) -> Verdict | None:
    """Tell why the agent of a start has to be stopped; None if it may go on.

    Args:
        now: the run as it is in Prefect; None if it is deleted.
    """
    if now is None or now.state is None:
        return StopReason.DELETED, "its run was deleted in Prefect"
    if record_of(now).is_given_up(start):
        return StopReason.TAKEN_OVER, "its run was taken over"
    said = f": {now.state.message}" if now.state.message else ""
    match now.state.type:
        case StateType.CANCELLING:
            return _cancelling(now)
        case StateType.RUNNING:
            return (StopReason.TAKEN_OVER, FORGOTTEN) if has_forgotten(start, now) else None
        case StateType.CRASHED:  # whoever looks after crashed runs sees to the task
            return StopReason.TAKEN_OVER, f"its run was set to {now.state.name!r} in Prefect{said}"
        case StateType.PAUSED:
            return StopReason.SUSPENDED, "its run was suspended in Prefect"
        case StateType.COMPLETED | StateType.FAILED | StateType.CANCELLED:
            return StopReason.ENDED, f"its run was set to {now.state.name!r} in Prefect{said}"
        case _:
            return StopReason.SUSPENDED, "its run was scheduled anew in Prefect"


def has_forgotten(start: Start, now: FlowRun) -> bool:
    """Tell whether Prefect is where it was before a start, as after a restore from a backup.

    Labels alone may be lost, and then the state is still that of the start.
    """
    record, state = record_of(now), now.state
    if state is None:
        return False
    if record.is_given_up(start) and state.name == StateName.NOTHING_TO_DO:
        return True  # another start came, and found the task taken by this one
    is_earlier = state.type is StateType.RUNNING and str(state.id) != start.id
    return is_earlier and record.starts < start.number


def may_find_nothing(start: Start, now: FlowRun) -> bool:
    """Tell whether another start has the number of this one, and is at work.

    Numbers come twice only after a restore from a backup.
    """
    record = record_of(now)
    is_at_work = now.state_type in (StateType.PENDING, StateType.RUNNING)
    return is_at_work and record.starts == start.number and record.start_id != start.id


def _cancelling(run: FlowRun) -> Verdict:
    state = run.state
    moved = state is not None and state.name == StateName.MOVED_AWAY
    reason = StopReason.MOVED_AWAY if moved else StopReason.CANCELLED
    return reason, (state.message or "") if state else ""
