"""A claim by two transitions that stops between them: the issue is still in its queue for us."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from athanore.errors import AnswerLostError, InvalidTaskError, TaskMovedError
from athanore.models import Task
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.jira.adapter import JiraAdapter
from athanore.queue_adapters.jira.issues import CLAIM
from athanore.testing.doubles.jira import JiraDouble
from athanore.testing.doubles.wire import Fault

TODO, BETWEEN, PROGRESS, DONE = "Todo", "Selected", "In Progress", "Done"
SECOND_STEP = "POST /issue/ENG-1/transitions"


@pytest.fixture
def two_steps(jira: JiraDouble) -> JiraDouble:
    """From Todo to Selected, from there to In Progress, and from everywhere to Done."""
    jira.state.transitions.clear()
    jira.state.add_status(BETWEEN)
    jira.state.allow(BETWEEN, TODO)
    jira.state.allow(PROGRESS, BETWEEN)
    jira.state.allow(DONE)
    jira.issue("Fix crash", TODO)
    return jira


@pytest.fixture
def adapters(two_steps: JiraDouble) -> Iterator[tuple[JiraAdapter, JiraAdapter]]:
    """Those of two processes."""
    made = [two_steps.board(via={PROGRESS: BETWEEN}).create_adapter() for _ in range(2)]
    yield made[0], made[1]
    for adapter in made:
        adapter.close()


def claim(adapter: JiraAdapter) -> Task:
    return claim_task(adapter, "ENG-1", source_queue=TODO, target_queue=PROGRESS)


def break_second_step(jira: JiraDouble) -> None:
    fault = Fault("POST", "/transitions", 503, 5)
    jira.wire.before[SECOND_STEP] = lambda: jira.wire.before.update(
        {SECOND_STEP: lambda: jira.wire.faults.append(fault)}
    )


def repair(jira: JiraDouble) -> None:
    with jira.wire.lock:
        jira.wire.faults.clear()


def left_between(jira: JiraDouble, adapter: JiraAdapter) -> None:
    break_second_step(jira)
    with pytest.raises(AnswerLostError):
        claim(adapter)
    assert jira.status("ENG-1") == BETWEEN
    repair(jira)


def test_a_claim_of_two_steps_leaves_no_property(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    assert claim(adapters[0]).queue_name == PROGRESS
    assert (two_steps.status("ENG-1"), two_steps.state.properties) == (PROGRESS, {})


def test_what_is_left_between_is_in_its_queue_and_is_claimed_from_there(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    left_between(two_steps, adapters[0])
    for adapter in adapters:
        assert adapter.get_task("ENG-1").queue_name == TODO
    seen = [task.queue_name for task in adapters[1].get_ready_tasks([TODO, BETWEEN])]
    assert seen == [TODO], "a route of the queue between must not have it"
    assert claim(adapters[0]).queue_name == PROGRESS
    assert (two_steps.status("ENG-1"), two_steps.state.properties) == (PROGRESS, {})


def test_the_claim_of_a_process_that_died_between_is_taken_on_by_another(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    left_between(two_steps, adapters[0])
    assert claim(adapters[1]).queue_name == PROGRESS
    assert two_steps.state.properties == {}
    with pytest.raises(TaskMovedError):
        claim(adapters[0])


def test_a_claim_that_fails_again_between_is_remembered_still(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    two_steps.state.transitions[:] = [
        one for one in two_steps.state.transitions if one.target != PROGRESS
    ]
    old = datetime.now(UTC) - timedelta(hours=1)
    for adapter in (*adapters, adapters[0]):
        with pytest.raises(
            InvalidTaskError, match="no transition that takes ENG-1 from 'Selected'"
        ):
            claim(adapter)
        assert adapter.get_task("ENG-1").queue_name == TODO
        two_steps.state.properties["ENG-1", CLAIM]["at"] = old.isoformat()
    two_steps.state.allow(PROGRESS, BETWEEN)
    assert claim(adapters[1]).queue_name == PROGRESS
    assert two_steps.state.properties == {}


@pytest.mark.parametrize("target", [BETWEEN, DONE])
def test_a_move_ends_what_a_claim_had_begun(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter], target: str
) -> None:
    left_between(two_steps, adapters[0])
    adapters[1].move_task("ENG-1", target)
    assert two_steps.state.properties == {}
    assert adapters[1].get_task("ENG-1").queue_name == target
    with pytest.raises(TaskMovedError):
        claim(adapters[0])


def test_a_person_who_takes_the_issue_from_between_has_it(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    row, done = two_steps.state.issue("ENG-1"), two_steps.state.statuses[DONE]
    two_steps.wire.before[SECOND_STEP] = lambda: two_steps.wire.before.update(
        {SECOND_STEP: lambda: row["fields"].update(status=done)}
    )
    with pytest.raises(TaskMovedError):
        claim(adapters[0])
    assert (two_steps.status("ENG-1"), two_steps.state.properties) == (DONE, {})


def test_an_issue_that_is_in_that_queue_by_right_is_there(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    assert claim(adapters[0]).queue_name == PROGRESS
    two_steps.issue("Add dark mode", BETWEEN)
    assert [task.id for task in adapters[1].get_ready_tasks([BETWEEN])] == ["ENG-2"]
    with pytest.raises(TaskMovedError):
        claim_task(adapters[0], "ENG-2", source_queue=TODO, target_queue=PROGRESS)
