"""What a webhook's payload says about the queues that are watched."""

from __future__ import annotations

from typing import Any

import pytest

from athanore.queue_adapters.planka.backend import PlankaAdapter
from athanore.testing.doubles.planka.server import PlankaDouble
from athanore.testing.doubles.planka.state import Row

TODO, PROGRESS, DONE = "P.B.Todo", "P.B.In Progress", "P.B.Done"
WATCHED = [TODO, DONE, "P.B.Missing"]


def payload(event: str, user: Row, item: Row, before: Row | None = None) -> dict[str, Any]:
    """What Planka 2 sends: the row, the row before the change, and who made it."""
    data: dict[str, Any] = {"event": event, "data": {"item": item, "included": {}}, "user": user}
    return data if before is None else {**data, "prevData": {"item": before}}


def test_a_card_that_a_person_moves_affects_both_lists(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    adapter.get_ready_tasks([TODO, DONE])
    before = dict(planka.card("Todo", "x"))
    after = planka.state.tables["cards"][before["id"]]
    planka.state.touch(after, listId=planka.list("Done")["id"])
    event = payload("cardUpdate", planka.admin, after, before)
    assert adapter.affected_queues(event, WATCHED) == [TODO, DONE]
    # and the poll that it triggers sees the change, whatever was cached before
    assert [task.id for task in adapter.get_ready_tasks([DONE])] == [after["id"]]


def test_a_new_card_affects_its_list_and_a_list_itself(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    event = payload("cardCreate", planka.admin, planka.card("Todo", "x"))
    assert adapter.affected_queues(event, WATCHED) == [TODO]
    event = payload("listUpdate", planka.admin, planka.list("Done"))
    assert adapter.affected_queues(event, WATCHED) == [DONE]


def test_our_own_changes_and_other_lists_affect_nothing(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    card = adapter.create_task(TODO, "x")
    row = planka.state.tables["cards"][card.id]
    created, before = payload("cardCreate", planka.bot, dict(row)), dict(row)
    assert adapter.affected_queues(created, WATCHED) == []
    adapter.move_task(card.id, DONE)
    moved = payload("cardUpdate", planka.bot, row, before)
    assert adapter.affected_queues(moved, WATCHED) == []
    deleted = payload("cardDelete", planka.admin, row)
    assert adapter.affected_queues(deleted, WATCHED) == [DONE]
    other = payload("cardCreate", planka.admin, planka.card("In Progress", "y"))
    assert adapter.affected_queues(other, WATCHED) == []


def test_a_change_of_the_person_whose_key_it_is_counts(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    new = payload("cardCreate", planka.bot, planka.card("Todo", "x"))
    assert adapter.affected_queues(new, WATCHED) == [TODO]
    card = adapter.create_task(TODO, "y")
    row = planka.state.tables["cards"][card.id]
    before = dict(row)
    planka.state.touch(row, listId=planka.list("Done")["id"])
    moved = payload("cardUpdate", planka.bot, row, before)
    assert adapter.affected_queues(moved, WATCHED) == [TODO, DONE]


@pytest.mark.parametrize(
    "nonsense",
    [None, [], "x", {}, {"data": 1}, {"data": {"item": []}}, {"data": {"item": {"boardId": {}}}}],
)
def test_a_payload_that_makes_no_sense_affects_nothing(
    adapter: PlankaAdapter, nonsense: object
) -> None:
    assert adapter.affected_queues(nonsense, WATCHED) == []


def test_what_nobody_watches_costs_no_request(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    adapter.prepare([TODO, DONE])
    adapter.affected_queues(payload("cardCreate", planka.admin, planka.card("Todo", "x")), WATCHED)
    before = len(planka.log)
    for number in range(20):
        other = payload("cardCreate", planka.admin, planka.card("In Progress", f"y{number}"))
        assert adapter.affected_queues(other, [TODO, DONE]) == []
    assert len(planka.log) == before


def test_a_list_that_takes_the_name_of_a_watched_one_is_watched(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    adapter.prepare([TODO])
    old, new = planka.list("Todo"), planka.list("Done")
    planka.state.touch(old, name="Old")
    planka.state.touch(new, name="Todo")
    adapter.affected_queues(payload("listUpdate", planka.admin, new), [TODO])
    card = planka.state.add_card(planka.admin, new, {"name": "x"})
    assert adapter.affected_queues(payload("cardCreate", planka.admin, card), [TODO]) == [TODO]
    card = planka.state.add_card(planka.admin, old, {"name": "y"})
    assert adapter.affected_queues(payload("cardCreate", planka.admin, card), [TODO]) == []
