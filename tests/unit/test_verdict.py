"""What a worker makes of each state that it may find one of its runs in."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Running,
    Scheduled,
    Suspended,
)

from athanore.runs.records.record import RunRecord, Start
from athanore.runs.states import StateName
from athanore.runtime.leases import verdict
from athanore.runtime.leases.local_runs import LocalRuns, RunControl, StopReason

ID = uuid4()
MINE = Start(str(ID), 2, "host:1:1")
OWN = RunRecord(starts=2, start_id=MINE.id, process="host:1:1").dump()


def run(state: State[Any], **labels: Any) -> FlowRun:
    noted = OWN | {f"athanore.{key.replace('_', '-')}": value for key, value in labels.items()}
    return FlowRun(flow_id=uuid4(), state=state, state_type=state.type, labels=noted)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (Running(), None),
        (Running(name="Retrying"), None),
        (Cancelling(), StopReason.CANCELLED),
        (Cancelling(name=StateName.MOVED_AWAY), StopReason.MOVED_AWAY),
        (Suspended(), StopReason.SUSPENDED),
        (Paused(), StopReason.SUSPENDED),
        (Scheduled(), StopReason.SUSPENDED),
        (Scheduled(name="Resuming"), StopReason.SUSPENDED),
        (AwaitingRetry(), StopReason.SUSPENDED),
        (Pending(), StopReason.SUSPENDED),
        (Completed(), StopReason.ENDED),
        (Failed(), StopReason.ENDED),
        (Cancelled(), StopReason.ENDED),
        (Crashed(), StopReason.TAKEN_OVER),
    ],
)
def test_only_a_running_run_that_is_still_its_own_is_gone_on_with(
    state: State[Any], reason: StopReason | None
) -> None:
    found = verdict.judge(MINE, run(state))
    assert (found and found[0]) == reason


@pytest.mark.parametrize(
    "labels",
    [
        {"start": 3, "start_id": "theirs", "process": "other:1:1"},
        {"start_id": "after-a-suspension"},
        {"process": "other:1:1"},
        {"left": MINE.id},
    ],
)
@pytest.mark.parametrize("state", [Running(), Pending(), Suspended(), Completed(), Cancelling()])
def test_a_run_that_has_another_holder_or_start_is_somebody_elses(
    labels: dict[str, Any], state: State[Any]
) -> None:
    found = verdict.judge(MINE, run(state, **labels))
    assert found and found[0] is StopReason.TAKEN_OVER


def test_labels_of_an_earlier_start_condemn_nobody() -> None:
    """Two writers of labels may lose one: then those of the start before are there."""
    earlier = {"start": 1, "start_id": "before", "process": "other:1:1", "left": "before"}
    assert verdict.judge(MINE, run(Running(id=ID), **earlier)) is None


def test_a_run_that_prefect_has_from_before_the_start_is_not_its_own() -> None:
    """Prefect was restored from a backup: both the labels and the state are of an earlier start."""
    earlier = {"start": 1, "start_id": "before", "process": "other:1:1", "left": ""}
    now = run(Running(), **earlier)
    assert verdict.has_forgotten(MINE, now)
    assert verdict.judge(MINE, now) == (StopReason.TAKEN_OVER, verdict.FORGOTTEN)
    later = run(Running(), **earlier | {"start": 3})
    assert not verdict.has_forgotten(MINE, later)


def test_a_start_that_found_the_task_taken_by_another_has_not_taken_it_over() -> None:
    nothing = Cancelled(name=StateName.NOTHING_TO_DO)
    theirs = {"start": 1, "start_id": "theirs", "process": "other:1:1"}
    assert verdict.has_forgotten(MINE._replace(number=1), run(nothing, **theirs))
    assert not verdict.has_forgotten(MINE, run(nothing))


def test_a_deleted_run_stops_its_agent() -> None:
    found = verdict.judge(MINE, None)
    assert found and found[0] is StopReason.DELETED


def test_the_words_of_whoever_ended_the_run_are_passed_on() -> None:
    found = verdict.judge(MINE, run(Completed(message="good enough")))
    assert found and found[1] == "its run was set to 'Completed' in Prefect: good enough"


def test_a_run_that_has_not_noted_its_start_hears_of_a_cancellation_only() -> None:
    handle, runs = RunControl(uuid4()), LocalRuns()
    verdict.hear(runs, handle.run_id, run(Pending()), handle)
    verdict.hear(runs, handle.run_id, None, handle)
    assert handle.reason is None
    handle.start = MINE
    verdict.hear(runs, handle.run_id, None, handle)
    assert handle.reason is StopReason.DELETED
