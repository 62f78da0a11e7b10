"""A whole board goes from a JSON file to a database and back, and overwrites nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from athanore import JsonFileAdapter, MemoryAdapter
from athanore.cli import copying, main
from athanore.errors import ConfigurationError, InvalidTaskError, TaskNotFoundError
from athanore.models import Task
from athanore.queue_adapters.sql import SqlBoard
from athanore.services.board_copy import Copied, export_board, import_board
from examples.custom_adapter.sqlite_adapter import SqliteAdapter

BOARD: dict[str, Any] = {
    "version": 7,
    "queues": {
        "Todo": [
            {
                "id": 3,
                "name": "one",
                "due": "friday",
                "blocked_by": ["1"],
                "author": "eve",
                "priority": "High",
                "created_at": "2025-01-02T03:04:05Z",
                "updated_at": "2025-01-03T03:04:05Z",
                "labels": "bug",
                "assignees": ["ada"],
                "comments": [
                    "plain",
                    {"text": "rich", "author": "x", "created_at": "2025-01-02T03:04:05Z"},
                ],
                "tasks": ["a", {"name": "b", "done": True, "id": 5}],
            },
            {"id": "abc", "name": "two", "description": "Größe\n3 µm"},
            {"id": "1", "name": "three"},
        ],
        "Größe": [{"id": "007", "name": "four"}, {"id": "9" * 30, "name": "five"}],
        "Done": [],
    },
    "last_id": 40,
}
QUEUES = list(BOARD["queues"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "old.json"
    file.write_text(json.dumps(BOARD))
    return file


@pytest.fixture
def board(tmp_path: Path) -> Generator[SqlBoard]:
    board = SqlBoard(tmp_path / "board.db")
    yield board
    board.close()


def bare(task: Task) -> Task:
    """A task without the ids of its comments, which each board gives itself."""
    return replace(task, comments=tuple(replace(one, id=None) for one in task.comments))


def test_board_goes_to_a_database_and_back(file: Path, board: SqlBoard, tmp_path: Path) -> None:
    assert import_board(board, file) == Copied(queues=3, tasks=5)
    original = JsonFileAdapter(file)
    assert board.list_queues() == original.list_queues()
    ready = original.get_ready_tasks(QUEUES)
    assert board.get_ready_tasks(QUEUES) == ready
    assert (ready[0].author, ready[0].priority) == ("eve", "High")
    for task in ready:
        assert bare(board.get_task(task.id)) == bare(original.get_task(task.id))
    back = tmp_path / "back.json"
    assert export_board(board, back) == Copied(queues=3, tasks=5)
    copy = JsonFileAdapter(back)
    for task in ready:
        assert bare(copy.get_task(task.id)) == bare(original.get_task(task.id))
    data = json.loads(back.read_text())
    assert list(data["queues"]) == QUEUES
    assert data["queues"]["Todo"][0]["due"] == "friday"
    assert data["last_id"] >= 40


def test_new_task_gets_no_id_that_was_in_use(file: Path, board: SqlBoard) -> None:
    import_board(board, file)
    task = board.create_task("Done", "new")
    assert 40 < int(task.id) < 50
    assert board.get_task(task.id) == task
    for number in (41, 42):  # what tasks have behind ids that are no numbers
        with pytest.raises(TaskNotFoundError):
            board.get_task(str(number))
    import_board(memory := MemoryAdapter(), file)
    assert memory.create_task("Done", "new").id == str(int("9" * 30) + 1)


def test_queues_that_are_there_follow_those_of_the_file(file: Path, board: SqlBoard) -> None:
    board.prepare(["Later", "Done", "Todo"])
    import_board(board, file)
    assert [q.name for q in board.list_queues()] == [*QUEUES, "Later"]
    import_board(memory := MemoryAdapter(["Later", "Done"]), file)
    assert [q.name for q in memory.list_queues()] == [*QUEUES, "Later"]


@pytest.mark.parametrize("kind", [SqlBoard, JsonFileAdapter])
def test_board_with_tasks_is_not_overwritten(
    kind: type[SqlBoard | JsonFileAdapter], file: Path, tmp_path: Path
) -> None:
    board = kind(tmp_path / "board")
    board.prepare(["Todo"])
    task = board.create_task("Todo", "mine")
    with pytest.raises(ConfigurationError, match="has 1 task already, and nothing was imported"):
        import_board(board, file)
    assert board.get_ready_tasks(["Todo"]) == [task]
    assert [q.name for q in board.list_queues()] == ["Todo"]
    if isinstance(board, SqlBoard):
        board.close()


def test_file_that_is_there_is_not_overwritten(file: Path, board: SqlBoard) -> None:
    board.prepare(["Todo"])
    with pytest.raises(ConfigurationError, match="is there already, and nothing was exported"):
        export_board(board, file)
    assert json.loads(file.read_text()) == BOARD


def no_object(data: dict[str, Any]) -> object:
    return [data]


def without_an_id(data: dict[str, Any]) -> object:
    return {"queues": {"Todo": [{"name": "x"}]}}


def with_an_id_twice(data: dict[str, Any]) -> object:
    return {"queues": {"Todo": [{"id": 1, "name": "x"}, {"id": "1", "name": "y"}]}}


def without_queues(data: dict[str, Any]) -> object:
    return {"tasks": []}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_object, "is no board"),
        (without_an_id, "'x' has no id in the queue 'Todo'; mend"),
        (with_an_id_twice, "the id '1' is used again"),
        (without_queues, "it is missing"),
    ],
)
def test_file_that_cannot_be_read_whole_is_not_imported(
    change: Callable[[dict[str, Any]], object], says: str, file: Path, board: SqlBoard
) -> None:
    file.write_text(json.dumps(change(BOARD)))
    with pytest.raises(ConfigurationError, match=says):
        import_board(board, file)
    assert not board.exists()


def test_import_is_all_or_nothing(file: Path, board: SqlBoard) -> None:
    board.prepare(["Later"])
    file.write_text(json.dumps({"queues": {"Todo": [{"id": 1, "name": "x"}], "q" * 501: []}}))
    with pytest.raises(InvalidTaskError, match="not be longer than 500"):
        import_board(board, file)
    assert [(q.name, q.task_count) for q in board.list_queues()] == [("Later", 0)]


class Telling(SqliteAdapter):
    """A board that says who made its tasks."""

    def get_task(self, task_id: str) -> Task:
        return replace(super().get_task(task_id), author="eve", priority="High")


def test_board_of_another_kind_is_exported_task_by_task(tmp_path: Path, board: SqlBoard) -> None:
    other = Telling(tmp_path / "other.sqlite3")
    other.prepare(["Todo", "Done"])
    task = other.create_task("Todo", "one", "text")
    other.add_comment(task.id, "hello")
    other.update_task(task.id, labels=["bug"])
    export_board(other, tmp_path / "other.json")
    import_board(board, tmp_path / "other.json")
    copied, original = board.get_task(task.id), other.get_task(task.id)
    assert (copied.name, copied.description, copied.labels) == ("one", "text", ("bug",))
    assert (copied.author, copied.priority) == ("eve", "High")
    assert [c.text for c in copied.comments] == [c.text for c in original.comments]
    with pytest.raises(ConfigurationError, match="Telling cannot be imported into"):
        import_board(other, tmp_path / "other.json")


def test_the_commands_say_what_was_copied(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "copy_app.py"
    script.write_text(
        "from athanore import AgentDispatcher\n"
        "from athanore.queue_adapters.sql import SqlBoard\n"
        f"board = SqlBoard({str(tmp_path / 'board.db')!r})\n"
        "dispatcher = AgentDispatcher(name='copy', command='sh', queue_backend=board)\n"
    )
    new, never = tmp_path / "new.json", tmp_path / ("a" * 300)
    for command, path, code, says in (
        ("import", file, 0, f"Imported 5 tasks in 3 queues from {file}."),
        ("import", file, 2, "athanore: The board has 5 tasks already, and nothing was imported"),
        ("export", new, 0, f"Exported 5 tasks in 3 queues to {new}."),
        ("export", new, 2, f"athanore: {new} is there already"),
        ("export", never, 2, f"athanore: {never} cannot be written: File name too long."),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["board", command, str(path), "--app", f"{script}:dispatcher"])
        assert exit_.value.code == code
        shown = capsys.readouterr()
        assert (shown.err if code else shown.out).replace("\n", " ").startswith(says)


class _Tracker:
    """A board whose queue Done is closed, so that its tasks are never ready."""

    def __init__(self, inner: MemoryAdapter) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in ("export_board", "import_board"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        return [t for t in self._inner.get_ready_tasks(queue_names) if t.queue_name != "Done"]


def test_what_of_a_tracker_is_not_in_the_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = MemoryAdapter(["Todo", "Done"])
    for queue in ("Todo", "Done", "Done"):
        memory.create_task(queue, "x")
    board: Any = _Tracker(memory)
    found: Callable[[str | None], object] = lambda _: (None, SimpleNamespace(board=board))  # noqa: E731
    monkeypatch.setattr(copying, "find_app", found)
    copying.export(file := tmp_path / "out.json")
    assert len(json.loads(file.read_text())["queues"]["Done"]) == 0
    told = capsys.readouterr().out
    assert "Exported 1 tasks in 2 queues" in told
    assert "closed ones are not in the file" in told
    assert "Not in the file: 2 of 'Done'." in told
