"""Names of queues: dots, ids, short names, and names that several lists have."""

from __future__ import annotations

import pytest

from athanore.errors import ConfigurationError, InvalidTaskError, QueueNotFoundError
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.planka.backend import PlankaAdapter
from athanore.queue_adapters.planka.queues import AmbiguousQueueError, UnknownBoardError
from athanore.testing.doubles.planka.server import PlankaDouble


def test_parts_may_have_dots(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    planka.add_board("v1.2", "a.b", ("c.d", "e"))
    card = planka.card("c.d", "x")
    (task,) = adapter.get_ready_tasks(["v1.2.a.b.c.d"])
    assert (task.id, task.queue_name) == (card["id"], "v1.2.a.b.c.d")
    assert adapter.get_queue("v1.2.a.b.e").name == "v1.2.a.b.e"


def test_dots_that_can_be_read_in_two_ways_are_an_error_with_the_candidates(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.add_board("x", "y", ("z.Todo!",))
    planka.add_board("x.y", "z", ("Todo!",))
    lists = [planka.list("z.Todo!")["id"], planka.list("Todo!")["id"]]
    with pytest.raises(AmbiguousQueueError) as caught:
        adapter.get_queue("x.y.z.Todo!")
    assert caught.value.existing == [f"x.y.{lists[0]}", f"x.y.z.{lists[1]}"]
    for name in caught.value.existing:
        assert name in str(caught.value)
        assert adapter.get_ready_tasks([name]) == []


def test_lists_with_one_name_are_told_apart_by_id(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    board = planka.add_board("P", "Twins")
    ids = [
        planka.state.add_list(board["id"], "active", name, n)["id"]
        for n, name in enumerate(("Todo", "Todo", None), 1)
    ]
    names = [f"P.Twins.{i}" for i in ids]
    assert [q.name for q in adapter.list_queues()][3:] == names
    with pytest.raises(AmbiguousQueueError, match=names[1]):
        adapter.get_ready_tasks(["P.Twins.Todo"])
    with pytest.raises(ConfigurationError, match=names[0]):
        adapter.prepare(["P.Twins.Todo"])
    assert adapter.create_task(names[2], "in the one without a name").queue_name == names[2]


def test_boards_with_one_name_are_told_apart_by_id(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    other = planka.add_board("P", "B", ("Todo", "More"))
    card = planka.state.add_card(
        planka.admin, planka.state.rows("lists", boardId=other["id"], name="Todo")[0], {"name": "x"}
    )
    with pytest.raises(AmbiguousQueueError):
        adapter.get_queue("P.B.Todo")
    assert adapter.get_queue("P.B.More").name == f"{other['id']}.More"
    assert adapter.get_task(card["id"]).queue_name == f"{other['id']}.Todo"
    assert adapter.get_queue(f"{other['id']}.Todo").task_count == 1


def test_ids_stand_for_names_and_the_tasks_say_what_the_route_says(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.add_board("Q", "C", ("Elsewhere",))
    (board,) = planka.state.rows("boards", name="B")
    todo = planka.list("Todo")["id"]
    card_id = planka.card("Todo", "x")["id"]
    for name in (
        f"P.B.{todo}",
        f"P.{board['id']}.Todo",
        f"{board['projectId']}.{board['id']}.{todo}",
        f"{board['id']}.Todo",
        todo,
    ):
        assert adapter.get_queue(name).task_count == 1
    assert adapter.get_ready_tasks([todo])[0].queue_name == todo
    assert adapter.get_task(card_id).queue_name == todo
    assert adapter.list_queues()[0].name == todo


def test_a_short_name_is_on_the_board_of_the_task(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.add_board("Q", "C", ("In", "In Progress"))
    card_id = planka.card("In", "x")["id"]
    task = claim_task(adapter, card_id, source_queue="Q.C.In", target_queue="In Progress")
    assert task.queue_name == "Q.C.In Progress"
    adapter.move_task(card_id, "In")
    assert adapter.get_task(card_id).queue_name == "Q.C.In"
    with pytest.raises(UnknownBoardError, match=r"'P\.B', 'Q\.C'"):
        adapter.get_queue("In Progress")  # without a task there are two boards to choose from


def test_a_short_name_is_enough_with_one_board(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    planka.card("Todo", "x")
    assert [task.queue_name for task in adapter.get_ready_tasks(["Todo"])] == ["Todo"]
    assert adapter.create_queue("Review").name == "P.B.Review"


def test_an_unknown_name_lists_the_candidates(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    with pytest.raises(QueueNotFoundError, match=r"Did you mean 'P\.B\.Todo'"):
        adapter.get_ready_tasks(["P.B.Tod"])
    with pytest.raises(UnknownBoardError, match=r"make the user an editor.*'P\.B'"):
        adapter.get_ready_tasks(["P.Bee.Todo"])


def test_a_list_and_a_board_that_are_new_or_renamed_are_found(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    adapter.list_queues()
    (board,) = planka.state.rows("boards", name="B")
    planka.state.touch(planka.list("Todo"), name="Backlog")
    assert adapter.get_queue("P.B.Backlog").task_count == 0
    planka.state.touch(board, name="Renamed")
    assert adapter.get_queue("P.Renamed.Backlog").name == "P.Renamed.Backlog"
    planka.add_board("P", "New", ("First",))
    assert adapter.get_queue("P.New.First").task_count == 0


def test_only_the_given_boards_are_used(planka: PlankaDouble) -> None:
    planka.add_board("Q", "C", ("Elsewhere",))
    adapter = planka.board(boards=["Q.C"]).create_adapter()
    assert [queue.name for queue in adapter.list_queues()] == ["Q.C.Elsewhere"]
    with pytest.raises(QueueNotFoundError):
        adapter.get_queue("P.B.Todo")
    adapter.close()


def test_a_queue_stays_on_its_board(planka: PlankaDouble, adapter: PlankaAdapter) -> None:
    planka.add_board("Q", "C", ("Elsewhere",))
    with pytest.raises(InvalidTaskError, match="another board"):
        adapter.update_queue("P.B.Todo", new_name="Q.C.Todo")
    with pytest.raises(InvalidTaskError, match=r"Project\.Board\.List.*'P\.B', 'Q\.C'"):
        adapter.create_queue("Review")
    assert adapter.update_queue("P.B.Todo", new_name="Backlog").name == "P.B.Backlog"


def test_prepare_leaves_a_missing_list_to_the_polls(
    planka: PlankaDouble, adapter: PlankaAdapter
) -> None:
    adapter.prepare(["P.B.Todo", "P.B.Missing", "In Progress"])
    assert [queue.name for queue in adapter.list_queues()] == [
        "P.B.Todo",
        "In Progress",
        "P.B.Done",
    ]
