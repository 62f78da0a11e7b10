"""What is particular to the board in memory; the contract is tested elsewhere."""

from athanore.models import ChecklistItem
from athanore.queue_adapters.base import claim_task
from athanore.queue_adapters.memory import MemoryAdapter


def test_board_is_made_from_names() -> None:
    board = MemoryAdapter(["Todo", "Done"])
    assert [(q.name, q.task_count) for q in board.list_queues()] == [("Todo", 0), ("Done", 0)]


def test_board_is_made_from_tasks() -> None:
    board = MemoryAdapter(
        {
            "Todo": ["Fix crash", {"name": "Write docs", "labels": ["docs"], "tasks": ["spell"]}],
            "Done": [{"id": "x-1", "name": "Old"}],
        }
    )
    first, second, old = board.get_ready_tasks(["Todo", "Done"])
    assert (first.id, first.name) == ("1", "Fix crash")
    assert (second.id, second.labels) == ("2", ("docs",))
    assert board.get_task("2").tasks == (ChecklistItem("spell"),)
    assert (old.id, old.queue_name) == ("x-1", "Done")
    assert board.create_task("Todo", "New").id == "3"


def test_nothing_is_shared_with_the_mapping_it_was_made_from() -> None:
    labels = ["docs"]
    task = {"name": "Write docs", "labels": labels}
    board = MemoryAdapter({"Todo": [task, task]})
    labels.append("late")
    board.move_task("1", "Todo")
    board.update_task("1", labels=["changed"])
    assert board.get_task("2").labels == ("docs",)
    assert task == {"name": "Write docs", "labels": ["docs", "late"]}


def test_nobody_is_assigned_unless_a_user_is_given() -> None:
    for user, assignees in ((None, ()), ("ada", ("ada",))):
        board = MemoryAdapter({"Todo": ["Fix crash"], "Doing": []}, user=user)
        task = claim_task(board, "1", source_queue="Todo", target_queue="Doing")
        assert task.assignees == assignees


def test_prepare_fills_only_an_empty_board() -> None:
    board = MemoryAdapter()
    board.prepare(["Todo", "Done"])
    board.prepare(["Other"])
    assert [q.name for q in board.list_queues()] == ["Todo", "Done"]


def test_stamp_stays_while_nothing_changes() -> None:
    board = MemoryAdapter(["Todo"])
    task = board.create_task("Todo", "Fix crash")
    stamp = board.change_stamp()
    board.move_task(task.id, "Todo")
    board.update_task(task.id, name="Fix crash", labels=[])
    board.get_ready_tasks(["Todo"])
    assert board.change_stamp() == stamp
