"""No task gets the id of another one that was deleted: Prefect remembers runs by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from athanore import JsonFileAdapter
from athanore.queue_adapters.base import claim_task


def delete(path: Path, *ids: str) -> None:
    """What a person does in an editor."""
    board = json.loads(path.read_text())
    for name, tasks in board["queues"].items():
        board["queues"][name] = [t for t in tasks if str(t.get("id")) not in ids]
    path.write_text(json.dumps(board))


def write(path: Path, *ids: str | int, **fields: Any) -> None:
    tasks = [{"id": task_id, "name": f"task {task_id}"} for task_id in ids]
    path.write_text(json.dumps({"queues": {"Todo": tasks, "Done": []}, **fields}))


def another(path: Path) -> JsonFileAdapter:
    """Another process's view of the board, or that after a restart."""
    return JsonFileAdapter(path, user=None)


def made_and_deleted(path: Path) -> None:
    write(path, "1", "2")
    assert another(path).create_task("Todo", "three").id == "3"
    delete(path, "3")


def worked_on_and_deleted(path: Path) -> None:
    write(path, "1", 3)
    claim_task(another(path), "3", source_queue="Todo", target_queue="Done")
    delete(path, "3")


def all_deleted(path: Path) -> None:
    write(path, "1")
    another(path).create_task("Todo", "two")
    another(path).create_task("Todo", "three")
    delete(path, "1", "2", "3")


def renumbered_by_hand(path: Path) -> None:
    write(path, "1", "3", last_id=2)


def noted_nonsense(path: Path) -> None:
    write(path, "1", "3", last_id="many")


@pytest.mark.parametrize(
    "before",
    [made_and_deleted, worked_on_and_deleted, all_deleted, renumbered_by_hand, noted_nonsense],
)
def test_a_new_task_has_an_id_that_no_task_had(
    tmp_path: Path, before: Callable[[Path], None]
) -> None:
    path = tmp_path / "board.json"
    before(path)
    assert another(path).create_task("Todo", "new").id == "4"
    assert another(path).create_task("Done", "next").id == "5"


@pytest.mark.parametrize("task_id", ["a", "9" * 30])
def test_ids_that_are_no_numbers_of_the_file_are_left_alone(tmp_path: Path, task_id: str) -> None:
    path = tmp_path / "board.json"
    write(path, task_id)
    claim_task(another(path), task_id, source_queue="Todo", target_queue="Done")
    assert list(json.loads(path.read_text())) == ["queues"]
    assert another(path).create_task("Todo", "new").id != task_id
