"""What the labels of a run say about the attempt that it waits to go on with."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from athanore.runs import record


def run(starts: int, **labels: int) -> FlowRun:
    """A run with so many starts, and the labels of these names."""
    named: dict[str, Any] = {getattr(record, name): value for name, value in labels.items()}
    return FlowRun(flow_id=uuid4(), run_count=starts, labels=named)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_an_attempt_keeps_its_number_when_its_start_is_given_back(attempt: int) -> None:
    at_work = run(attempt + 1, GIVEN_BACK=1, GIVEN_BACK_START=1)
    assert record.begun_attempt_of(at_work) == attempt
    given_back = run(attempt + 1, GIVEN_BACK=2, GIVEN_BACK_START=attempt + 1)
    assert record.begun_attempt_of(given_back) == attempt


@pytest.mark.parametrize("label", ["DUE", "CLAIMING"])
@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_waiting_run_that_was_given_back_has_something_to_say(label: str, attempt: int) -> None:
    back = {"GIVEN_BACK": 1, "GIVEN_BACK_START": attempt}
    assert record.awaits_the_board(run(attempt, **back, **{label: attempt}))
    assert not record.awaits_the_board(run(attempt, **back))
    assert not record.awaits_the_board(run(attempt, **{label: attempt})), "this is the next attempt"
