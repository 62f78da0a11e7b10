"""A claim by two transitions that stops between them: the issue is still in its queue for us."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from athanore.errors import (
    AnswerLostError,
    BoardUnavailableError,
    InvalidTaskError,
    TaskMovedError,
)
from athanore.models import Task
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.jira import claims, moves
from athanore.queue_adapters.jira.adapter import JiraAdapter
from athanore.queue_adapters.jira.issues import CLAIM
from athanore.queue_adapters.tracker import picture
from athanore.testing.doubles.jira import JiraDouble
from athanore.testing.doubles.wire import Fault

TODO, BETWEEN, PROGRESS, DONE = "Todo", "Selected", "In Progress", "Done"
OLD = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
SECOND_STEP = "POST /issue/ENG-1/transitions"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for others; nothing is believed that was read before."""
    monkeypatch.setattr(moves, "LOOKS", ())
    monkeypatch.setattr(claims, "SETTLES", 0.0)
    monkeypatch.setattr(picture, "MAX_AGE", 0)


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
    assert [task.queue_name for task in adapters[0].get_ready_tasks([TODO])] == [TODO]
    seen = [task.queue_name for task in adapters[1].get_ready_tasks([TODO, BETWEEN])]
    assert seen == [TODO], "a route of the queue between must not have it"
    assert claim(adapters[0]).queue_name == PROGRESS
    assert (two_steps.status("ENG-1"), two_steps.state.properties) == (PROGRESS, {})


def test_the_claim_of_a_process_that_died_between_is_taken_on_by_another(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    left_between(two_steps, adapters[0])
    two_steps.state.properties["ENG-1", CLAIM]["at"] = OLD
    assert claim(adapters[1]).queue_name == PROGRESS
    assert two_steps.state.properties == {}
    with pytest.raises(TaskMovedError):
        claim(adapters[0])


def test_an_issue_between_the_steps_of_a_claim_that_is_alive_is_not_claimed(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    state = two_steps.state
    now = datetime.now(UTC).isoformat()
    alive = {"id": "another's", "at": now, "from": TODO, "to": PROGRESS}
    state.properties["ENG-1", CLAIM] = alive
    state.issue("ENG-1")["fields"]["status"] = state.statuses[BETWEEN]
    with pytest.raises(BoardUnavailableError, match="Another process is claiming"):
        claim(adapters[0])
    assert two_steps.status("ENG-1") == BETWEEN
    assert state.properties == {("ENG-1", CLAIM): alive}


def test_a_claim_that_fails_again_between_is_remembered_still(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    two_steps.state.transitions[:] = [
        one for one in two_steps.state.transitions if one.target != PROGRESS
    ]
    for adapter in (*adapters, adapters[0]):
        with pytest.raises(
            InvalidTaskError, match="no transition that takes ENG-1 from 'Selected'"
        ):
            claim(adapter)
        assert adapter.get_task("ENG-1").queue_name == TODO
        two_steps.state.properties["ENG-1", CLAIM]["at"] = OLD
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


def test_in_a_workflow_that_leads_to_and_fro_two_queues_may_be_on_the_way_to_each_other(
    jira: JiraDouble,
) -> None:
    jira.state.transitions.clear()
    jira.state.add_status(BETWEEN)
    line = (TODO, BETWEEN, PROGRESS, DONE)
    for before, after in pairwise(line):
        jira.state.allow(after, before)
        jira.state.allow(before, after)
    jira.issue("Fix crash", TODO)
    adapter = jira.board(via={PROGRESS: BETWEEN, BETWEEN: PROGRESS}).create_adapter()
    assert claim(adapter).queue_name == PROGRESS
    adapter.move_task("ENG-1", DONE)
    adapter.move_task("ENG-1", BETWEEN)
    assert jira.status("ENG-1") == BETWEEN
    left = {"id": "dead", "at": OLD, "from": TODO, "to": BETWEEN}
    jira.state.properties["ENG-1", CLAIM] = left
    assert adapter.get_task("ENG-1").queue_name == BETWEEN, "what is at its end is not on its way"
    adapter.close()


def test_an_issue_that_is_in_that_queue_by_right_is_there(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    assert claim(adapters[0]).queue_name == PROGRESS
    two_steps.issue("Add dark mode", BETWEEN)
    assert [task.id for task in adapters[1].get_ready_tasks([BETWEEN])] == ["ENG-2"]
    with pytest.raises(TaskMovedError):
        claim_task(adapters[0], "ENG-2", source_queue=TODO, target_queue=PROGRESS)


def test_data_center_tells_no_properties_in_lists_and_is_asked_for_them_once(
    two_steps: JiraDouble,
) -> None:
    state = two_steps.state
    state.deployment = "Server"
    for name in list(state.users):
        state.add_user(name)
    adapter = two_steps.board(via={PROGRESS: BETWEEN}).create_adapter()
    left_between(two_steps, adapter)
    two_steps.issue("Add dark mode", BETWEEN)
    other = two_steps.board(via={PROGRESS: BETWEEN}).create_adapter()
    two_steps.log.clear()
    for _ in range(3):
        seen = {task.id: task.queue_name for task in other.get_ready_tasks([TODO, BETWEEN])}
        assert seen == {"ENG-1": TODO, "ENG-2": BETWEEN}
    assert sum("properties" in line for line in two_steps.log) == 2
    state.properties["ENG-1", CLAIM]["at"] = OLD
    assert claim(other).queue_name == PROGRESS
    for one in (adapter, other):
        one.close()


def test_the_property_of_another_process_is_not_taken_for_our_own(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    two_steps.state.allow(TODO)
    adapters[0].move_task("ENG-1", PROGRESS)  # by two steps, as claims go
    adapters[0].move_task("ENG-1", TODO)
    now = datetime.now(UTC).isoformat()
    two_steps.state.properties["ENG-1", CLAIM] = {"id": "another's", "at": now}
    with pytest.raises(BoardUnavailableError, match="Another process is claiming"):
        claim(adapters[0])
    left_of_ours = {"id": "another's", "at": now}
    assert two_steps.state.properties == {("ENG-1", CLAIM): left_of_ours}


def test_a_claim_of_three_steps_that_stops_after_the_first_one_is_remembered(
    two_steps: JiraDouble,
) -> None:
    state = two_steps.state
    state.add_status("Ready")
    way = {PROGRESS: "Ready", "Ready": BETWEEN}
    state.transitions[:] = [one for one in state.transitions if one.target == BETWEEN]
    state.allow("Ready", BETWEEN, "resolution")
    state.allow(PROGRESS, "Ready")
    adapter = two_steps.board(via=way).create_adapter()
    with pytest.raises(InvalidTaskError, match="to 'Ready' asks for 'resolution'"):
        claim(adapter)
    assert two_steps.status("ENG-1") == BETWEEN
    assert [task.queue_name for task in adapter.get_ready_tasks([TODO])] == [TODO]
    state.allow("Ready", BETWEEN)
    assert claim(adapter).queue_name == PROGRESS
    assert state.properties == {}
    adapter.close()


@pytest.mark.parametrize("seen", ["alone", "in a list"])
def test_what_a_process_left_that_died_after_its_claim_means_nothing_later(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter], seen: str
) -> None:
    state = two_steps.state
    assert claim(adapters[0]).queue_name == PROGRESS
    left = {"id": "dead", "at": OLD, "from": TODO, "to": PROGRESS}
    state.properties["ENG-1", CLAIM] = left
    if seen == "alone":
        adapters[1].get_task("ENG-1")
    else:
        adapters[1].get_ready_tasks([TODO, PROGRESS])
    assert state.properties == {}
    state.issue("ENG-1")["fields"]["status"] = state.statuses[BETWEEN]  # a person does that
    assert adapters[1].get_task("ENG-1").queue_name == BETWEEN


def test_the_property_of_a_claim_under_way_is_left_where_it_is(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    assert claim(adapters[0]).queue_name == PROGRESS
    now = datetime.now(UTC).isoformat()
    left = {"id": "alive", "at": now, "from": TODO, "to": PROGRESS}
    two_steps.state.properties["ENG-1", CLAIM] = left
    adapters[1].get_task("ENG-1")
    assert two_steps.state.properties == {("ENG-1", CLAIM): left}
    adapters[1].move_task("ENG-1", DONE)
    assert two_steps.state.properties == {}


def test_one_poll_takes_little_away_that_was_left_behind(
    jira: JiraDouble, adapter: JiraAdapter
) -> None:
    for number in range(12):
        row = jira.issue(f"issue {number}", TODO)
        jira.state.properties[row["key"], CLAIM] = {"id": row["key"], "at": OLD}
    for left in (7, 2, 0, 0):
        adapter.get_ready_tasks([TODO])
        assert len(jira.state.properties) == left


def test_rules_of_jiras_that_move_an_issue_off_its_way_end_the_claim(
    two_steps: JiraDouble, adapters: tuple[JiraAdapter, JiraAdapter]
) -> None:
    state = two_steps.state
    state.transitions[:] = [one for one in state.transitions if one.target != PROGRESS]
    state.allow(BETWEEN, BETWEEN)
    with pytest.raises(InvalidTaskError, match="no transition"):
        claim(adapters[0])
    assert two_steps.status("ENG-1") == BETWEEN
