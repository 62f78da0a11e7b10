"""Eight processes claim the tasks of one board in a database: each task has exactly one winner."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from athanore.queue_adapters.sql import SqlBoard
from tests import postgres

TASKS = 200
POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.nightly)


@pytest.fixture(params=["sqlite", POSTGRESQL])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'board.db'}"
        return
    postgres.require()
    with postgres.database() as url:
        yield url.replace("+asyncpg", "+psycopg")


def compete(address: str, folder: Path) -> dict[str, str]:
    """Have the processes claim; return who has won each task, and fail if two have one."""
    script = Path(__file__).with_name("sql_board_worker.py")
    subprocess.run([sys.executable, script, address, folder], check=True, timeout=120)
    won = [
        (task_id, file.name) for file in folder.iterdir() for task_id in file.read_text().split()
    ]
    winners = dict(won)
    assert len(winners) == len(won), "a task was won twice"
    return winners


@pytest.mark.nightly
def test_each_task_is_claimed_by_exactly_one_of_eight_processes(
    address: str, tmp_path: Path
) -> None:
    board = SqlBoard(address)
    board.prepare(["Todo", "In Progress", "Done"])
    ids = {board.create_task("Todo", f"task {n}").id for n in range(TASKS)}
    folder = tmp_path / "won"
    folder.mkdir()
    winners = compete(address, folder)
    assert set(winners) == ids
    claimed = board.get_ready_tasks(["In Progress"])
    assert {task.id: task.assignees for task in claimed} == {
        task_id: (winner,) for task_id, winner in winners.items()
    }
    assert board.get_queue("Todo").task_count == 0
    board.close()


def test_board_is_made_once_by_processes_that_start_together(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "won"
    folder.mkdir()
    assert compete(address, folder) == {}
    board = SqlBoard(address)
    assert [q.name for q in board.list_queues()] == ["Todo", "In Progress", "Done"]
    board.close()
