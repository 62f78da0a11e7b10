"""The board in a database: addresses, its place, what goes wrong there, other programs' writes."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from athanore.errors import (
    BoardAccessError,
    BoardBrokenError,
    BoardError,
    BoardUnavailableError,
    ConfigurationError,
    InvalidTaskError,
)
from athanore.queue_adapters.sql import SqlBoard, schema
from athanore.queue_adapters.sql.address import read_address
from athanore.queue_adapters.sql.database import Database
from athanore.queue_adapters.sql.faults import translate
from tests.support import ordinary_user

QUEUES = ["Todo", "In Progress", "Done"]
URL = "postgresql+psycopg://ada:s3cr%2Fet%40pw@db.example.com:6000/boards"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "board.db"


@pytest.fixture
def board(file: Path) -> Generator[SqlBoard]:
    board = SqlBoard(file, user="ada")
    board.prepare(QUEUES)
    yield board
    board.close()


def run(file: Path, *statements: str) -> None:
    """Change the file as another program would."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


# --- addresses ---


@pytest.mark.parametrize(
    "address", ["sqlite:///board.db", "board.db", "sqlite+pysqlite:///board.db"]
)
def test_relative_file_is_found_from_the_current_folder(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert SqlBoard(address).place == str(tmp_path / "board.db")
    assert SqlBoard(Path("board.db")).place == str(tmp_path / "board.db")
    assert SqlBoard("sqlite:////srv/board.db").place == "/srv/board.db"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("sqlite://board.db", "needs three slashes before the path: sqlite:///board.db"),
        ("sqlite:board.db", "needs three slashes before the path: sqlite:///board.db"),
        ("sqlite://", "needs three slashes"),
        ("sqlite:///:memory:", "use MemoryAdapter"),
        ("", "names no file"),
        ("sqlite:///board.db?timeout=3", "takes none"),
        ("sqlite+aiosqlite:///board.db", "uses the driver 'aiosqlite'"),
        ("postgresql+asyncpg://ada:s3cret@db/boards", "begin it with postgresql+psycopg"),
        ("mysql://ada:s3cret@db/boards", "'mysql'; a board can be in SQLite or PostgreSQL"),
        ("postgresql://ada:s3cret@db:port/boards", "cannot be read"),
        ("postgresql://ada:s3@cret@db/boards", "in a password are written as %2F"),
        ("postgresql://db:port?password=s3cret", "cannot be read"),
    ],
)
def test_wrong_address_is_told_in_one_line_without_its_password(address: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SqlBoard(address)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert "ada" not in message
    assert "cret" not in message
    assert caught.value.__cause__ is None


def test_password_is_shown_nowhere_and_named_as_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    board = SqlBoard(URL)
    assert board.place == "PostgreSQL database boards on db.example.com:6000"
    shown = f"{board!r} {board.place} {vars(board)}"
    assert "s3cr" not in shown
    assert board.secrets == {"s3cr/et@pw", "s3cr%2Fet%40pw"}
    monkeypatch.setenv("BOARD_URL", URL)
    monkeypatch.setenv("DB_PASSWORD", "s3cr/et@pw")
    monkeypatch.setenv("OTHER_DRIVER", URL.replace("+psycopg", ""))
    monkeypatch.setenv("ELSE", "postgresql://ada:another@db.example.com/boards")
    assert board.secret_env == {"BOARD_URL", "DB_PASSWORD", "OTHER_DRIVER"}
    assert SqlBoard("postgresql://db/boards").secret_env == {"PGPASSWORD"}
    assert SqlBoard("postgresql://db/boards?password=s3cret").secrets == {"s3cret"}
    assert SqlBoard("board.db").secret_env == frozenset()


def test_password_that_is_an_ordinary_word_takes_no_variable_but_those_of_passwords() -> None:
    address = read_address("postgresql://app:dev@db/board")
    variables = {"APP_ENV": "dev", "DB_PASSWORD": "dev", "URL": "postgresql://app:dev@db/board"}
    assert address.secret_variables(variables) == {"DB_PASSWORD", "URL"}
    address = read_address("postgresql://app:postgres@db/board")
    variables = {"USER": "postgres", "PGPASSWORD": "postgres", "X": "postgres"}
    assert address.secret_variables(variables) == {"PGPASSWORD", "X"}


def test_password_in_what_a_database_says_is_replaced() -> None:
    error = OperationalError("SELECT 1", {"a": "s3cret"}, Exception("wrong: s3cret\nno"))
    said = str(translate(error, "PostgreSQL database boards on db", {"s3cret"}))
    assert "s3cret" not in said
    assert "wrong: [redacted] no" in said


# --- the place ---


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkdir, "is a folder; name a file in it"),
        (os.mkfifo, "is not a regular file"),
    ],
    ids=["folder", "pipe"],
)
def test_place_that_cannot_hold_a_board_is_refused(
    make: Callable[[Path], None], says: str, file: Path
) -> None:
    make(file)
    with pytest.raises(ConfigurationError, match=says):
        SqlBoard(file).prepare(QUEUES)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="which does not exist; create it"):
        SqlBoard(tmp_path / "nowhere" / "board.db").prepare(QUEUES)


def test_look_at_the_place_makes_nothing(file: Path) -> None:
    board = SqlBoard(file)
    board.check_place()
    assert not board.exists()
    assert not file.exists()
    board.prepare(QUEUES)
    assert board.exists()
    board.close()


def test_database_of_another_program_is_refused_and_left_alone(file: Path) -> None:
    run(file, "CREATE TABLE flow_run (id TEXT)")
    before = file.read_bytes()
    board = SqlBoard(file)
    with pytest.raises(ConfigurationError, match=r"another program, with the tables flow_run;"):
        board.prepare(QUEUES)
    with pytest.raises(BoardBrokenError, match="has not the tables of a board"):
        board.get_queue("Todo")
    board.close()
    assert file.read_bytes() == before


def test_file_that_is_no_database_is_left_alone(file: Path) -> None:
    file.write_text('{"queues": {}}' * 100)
    board = SqlBoard(file)
    with pytest.raises(BoardBrokenError, match="file is not a database"):
        board.prepare(QUEUES)
    assert file.read_text() == '{"queues": {}}' * 100


@pytest.mark.parametrize("locked", ["folder", "file"])
def test_board_that_may_not_be_written_is_refused(shared_folder: Path, locked: str) -> None:
    file = shared_folder / "board.db"
    board = SqlBoard(file)
    board.prepare(QUEUES)
    board.close()
    where = file if locked == "file" else shared_folder
    where.chmod(0o444 if locked == "file" else 0o555)
    try:
        with ordinary_user():
            with pytest.raises(ConfigurationError, match=f"no permission to write {where}"):
                board.prepare(QUEUES)
            with pytest.raises((BoardAccessError, BoardUnavailableError)) as caught:
                board.create_queue("x")
            board.close()
    finally:
        where.chmod(0o777)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_gone_is_not_made_again(file: Path, board: SqlBoard, tmp_path: Path) -> None:
    task = board.create_task("Todo", "kept")
    board.close()
    file.rename(tmp_path / "elsewhere")
    calls = (lambda: board.get_task(task.id), lambda: board.add_comment(task.id, "x"))
    for call in calls:
        with pytest.raises(BoardUnavailableError, match="does not exist"):
            call()
    assert not file.exists()
    (tmp_path / "elsewhere").rename(file)
    assert board.get_task(task.id) == task


def test_file_that_was_replaced_is_read_anew(file: Path, board: SqlBoard, tmp_path: Path) -> None:
    other = SqlBoard(tmp_path / "other.db")
    other.prepare(["Inbox"])
    other.close()
    assert len(board.list_queues()) == 3  # and its connection is kept
    for end in ("-wal", "-shm"):
        file.with_name(f"{file.name}{end}").unlink()
    (tmp_path / "other.db").rename(file)
    assert [q.name for q in board.list_queues()] == ["Inbox"]


def test_other_writer_that_takes_too_long_is_no_lasting_fault(file: Path, board: SqlBoard) -> None:
    with closing(sqlite3.connect(file)) as other, closing(sqlite3.connect(file, timeout=0)) as own:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            own.execute("BEGIN IMMEDIATE")
    error = OperationalError("BEGIN IMMEDIATE", None, caught.value)
    found = translate(error, board.place)
    assert type(found) is BoardUnavailableError
    assert "is busy" in str(found)


def test_copy_of_a_board_is_another_one(file: Path, board: SqlBoard, tmp_path: Path) -> None:
    marks = set(board.board_identity().marks)
    board.close()
    shutil.copy(file, tmp_path / "copy.db")
    copy = SqlBoard(tmp_path / "copy.db")
    assert marks.isdisjoint(copy.board_identity().marks)
    copy.close()
    file.rename(tmp_path / "moved.db")
    moved = SqlBoard(tmp_path / "moved.db")
    assert not marks.isdisjoint(moved.board_identity().marks)
    moved.close()


def test_watchers_of_a_queue_hear_of_each_other(file: Path, board: SqlBoard) -> None:
    hour, other = timedelta(hours=1), SqlBoard(file)
    stamp = board.change_stamp()
    assert board.watched_by("Todo", "a", "A at home", hour) == []
    assert other.watched_by("Todo", "b", "B", hour) == ["A at home"]
    assert other.watched_by("Done", "c", "C", hour) == []
    assert board.watched_by("Todo", "a", "A moved", hour) == ["B"]
    assert other.watched_by("Todo", "b", "B", timedelta(0)) == ["A moved"]
    assert board.watched_by("Todo", "a", "A moved", hour) == []
    run(file, "UPDATE athanore_watcher SET until = 1")
    assert other.watched_by("Todo", "b", "B", hour) == []
    assert board.change_stamp() == stamp
    other.close()


# --- texts, and what other programs write ---


def test_what_no_database_can_store_is_replaced_or_refused(board: SqlBoard) -> None:
    task = board.create_task("Todo", "a\0b", "c\0d")
    board.add_comment(task.id, "e\0f")
    board.update_task(task.id, labels=["g\0h"], assignees=["i\0j"])
    task = board.get_task(task.id)
    assert (task.name, task.description, task.comments[0].text) == ("a�b", "c�d", "e�f")
    assert (task.labels, task.assignees) == (("g�h",), ("i�j",))
    for name in ("\ud800", " ", "\n"):
        with pytest.raises(InvalidTaskError):
            board.create_task("Todo", name)
    with pytest.raises(InvalidTaskError, match="a list of strings"):
        board.update_task(task.id, labels="bug")
    with pytest.raises(InvalidTaskError, match="not be longer than 500 characters"):
        board.create_queue("q" * 501)


def test_writes_of_other_programs_are_seen(file: Path, board: SqlBoard) -> None:
    board.create_task("Todo", "first")
    stamps = [board.change_stamp()]
    for statement in (
        "INSERT INTO athanore_task (queue, name, place) VALUES (1, 'by hand', 9)",
        "UPDATE athanore_task SET labels = 'bug', assignees = '[7, \"ada\"' WHERE name = 'by hand'",
        'UPDATE athanore_task SET checklist = \'["plain", {"name": "b", "done": true}]\'',
        "INSERT INTO athanore_comment (task, text, created_at) VALUES (2, 'hi', 'yesterday')",
        "INSERT INTO athanore_queue (name) VALUES ('More')",
        "DELETE FROM athanore_task WHERE name = 'first'",
    ):
        run(file, statement)
        stamps.append(board.change_stamp())
    assert len(set(stamps)) == len(stamps)
    (task,) = board.get_ready_tasks(["Todo"])
    assert (task.id, task.name, task.labels) == ("2", "by hand", ("bug",))
    whole = board.get_task("2")
    assert [(c.text, c.author, c.created_at) for c in whole.comments] == [("hi", None, None)]
    assert [(i.name, i.is_completed) for i in whole.tasks] == [("plain", False), ("b", True)]


def test_id_of_a_deleted_task_is_not_given_again(file: Path, board: SqlBoard) -> None:
    board.create_task("Todo", "first")
    last = board.create_task("Todo", "last")
    run(file, "DELETE FROM athanore_task")
    assert int(board.create_task("Todo", "new").id) > int(last.id)


@pytest.mark.parametrize("task_id", ["01", " 1", "+1", "1.0", "٣", "9" * 30, "x\0", "\ud800"])
def test_only_the_id_itself_finds_a_task(board: SqlBoard, task_id: str) -> None:
    board.create_task("Todo", "first")
    with pytest.raises(BoardError, match="No task has the id"):
        board.get_task(task_id)


# --- the schema ---


def test_version_is_the_number_of_migrations() -> None:
    assert len(schema.MIGRATIONS) == schema.VERSION


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
def test_older_board_is_brought_up_to_date(version: int, file: Path) -> None:
    database = Database(SqlBoard(file)._address)  # pyright: ignore[reportPrivateUsage]
    file.touch()
    with database.engine().begin() as connection:
        schema.create(connection, QUEUES, version)
    database.close()
    run(file, "INSERT INTO athanore_task (queue, name) VALUES (1, 'old')")
    board = SqlBoard(file)
    assert [t.name for t in board.get_ready_tasks(["Todo"])] == ["old"]
    assert board.watched_by("Todo", "a", "A", timedelta(hours=1)) == []
    board.prepare(["Ignored"])
    assert [q.name for q in board.list_queues()] == QUEUES
    board.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT schema_version FROM athanore_board").fetchall() == [
            (schema.VERSION,)
        ]


def test_board_of_a_newer_athanore_is_refused(file: Path, board: SqlBoard) -> None:
    run(file, "UPDATE athanore_board SET schema_version = 99")
    other = SqlBoard(file)
    with pytest.raises(ConfigurationError, match="its tables have version 99"):
        other.prepare(QUEUES)
    with pytest.raises(BoardBrokenError, match="update this one"):
        other.get_queue("Todo")
    other.close()


def test_a_new_board_has_queues_that_no_route_names(tmp_path: Path) -> None:
    board = SqlBoard(tmp_path / "board.db", queues=["Done", "Todo"])
    board.prepare(["Todo", "In Progress"])
    assert [q.name for q in board.list_queues()] == ["Todo", "In Progress", "Done"]
    board.close()
