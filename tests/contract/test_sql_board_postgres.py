"""A board in PostgreSQL: who is let in, what passes, what lasts, and sharing the database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardBrokenError,
    BoardUnavailableError,
    ConfigurationError,
)
from athanore.queue_adapters.sql import SqlBoard, counter, schema
from tests import postgres
from tests.support import free_port, wait_until

pytestmark = pytest.mark.nightly

QUEUES = ["Todo", "In Progress", "Done"]


@pytest.fixture(scope="module")
def server() -> Generator[str]:
    """An empty database."""
    postgres.require()
    with postgres.database() as url:
        yield url.replace("+asyncpg", "+psycopg")


@pytest.fixture
def address(server: str) -> Generator[str]:
    with postgres.schema(server) as address:
        yield address


@pytest.fixture
def board(address: str) -> Generator[SqlBoard]:
    board = SqlBoard(address, user="ada")
    board.prepare(QUEUES)
    yield board
    board.close()


@pytest.fixture
def other(address: str) -> Generator[sa.Connection]:
    """Another program's connection to the same database."""
    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_server_that_is_away_is_unavailable_and_fast() -> None:
    board = SqlBoard(f"postgresql://ada:s3cret@127.0.0.1:{free_port()}/boards")
    for call in (lambda: board.prepare(QUEUES), board.change_stamp, board.exists):
        with pytest.raises(BoardUnavailableError, match="onnection refused") as caught:
            call()
        assert "s3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["user", "database"])
def test_who_is_not_let_in_is_told_so(server: str, part: str) -> None:
    url = sa.make_url(server)
    url = url.set(username="nobody-here") if part == "user" else url.set(database="nothing-here")
    board = SqlBoard(url.render_as_string(hide_password=False))
    with pytest.raises(ConfigurationError, match="does not exist"):
        board.prepare(QUEUES)
    with pytest.raises(BoardAccessError, match="does not exist"):
        board.get_queue("Todo")


def test_unknown_option_in_the_address_is_told(server: str) -> None:
    with pytest.raises(ConfigurationError, match="colour"):
        SqlBoard(f"{server}?colour=blue").prepare(QUEUES)


def test_connections_that_were_closed_meanwhile_are_not_noticed(
    board: SqlBoard, other: sa.Connection
) -> None:
    task = board.create_task("Todo", "kept")
    query = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert True in other.execute(sa.text(query)).scalars().all()
    assert board.get_task(task.id) == task


def test_older_board_is_brought_up_to_date(address: str) -> None:
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        schema.create(connection, QUEUES, 1)
    engine.dispose()
    board = SqlBoard(address)
    assert board.watched_by("Todo", "a", "A", timedelta(hours=1)) == []
    assert board.watched_by("Todo", "b", "B", timedelta(hours=1)) == ["A"]
    board.close()


def test_database_may_be_shared_with_another_program(address: str, other: sa.Connection) -> None:
    other.execute(sa.text("CREATE TABLE flow_run (id TEXT)"))
    board = SqlBoard(address)
    assert not board.exists()
    board.prepare(QUEUES)
    assert board.exists()
    assert board.create_task("Todo", "first").id == "1"
    board.close()


def test_tables_with_our_names_that_are_not_ours_are_left_alone(
    address: str, other: sa.Connection
) -> None:
    other.execute(sa.text("CREATE TABLE athanore_task (id TEXT)"))
    board = SqlBoard(address)
    with pytest.raises(ConfigurationError, match="another program, with the tables athanore_task"):
        board.prepare(QUEUES)
    with pytest.raises(BoardBrokenError, match="has not the tables of a board"):
        board.get_queue("Todo")
    board.close()


def test_user_who_may_not_write_is_told_so(
    address: str, board: SqlBoard, other: sa.Connection
) -> None:
    role = f"reader_{free_port()}"
    where = str(sa.make_url(address).query["options"]).partition("=")[2]
    other.execute(sa.text(f"CREATE ROLE {role} LOGIN"))
    try:
        other.execute(sa.text(f"GRANT USAGE ON SCHEMA {where} TO {role}"))
        other.execute(sa.text(f"GRANT SELECT ON ALL TABLES IN SCHEMA {where} TO {role}"))
        reader = SqlBoard(sa.make_url(address).set(username=role).render_as_string())
        assert [q.name for q in reader.list_queues()] == QUEUES
        with pytest.raises(BoardAccessError, match="permission denied for table"):
            reader.create_task("Todo", "x")
        reader.close()
    finally:
        other.execute(sa.text(f"DROP OWNED BY {role}"))
        other.execute(sa.text(f"DROP ROLE {role}"))


def test_writes_of_other_programs_are_counted_once_a_transaction(
    board: SqlBoard, other: sa.Connection
) -> None:
    before = board.change_stamp()
    for name in ("first", "second", "third"):
        board.create_task("Todo", name)
    assert board.change_stamp() == before + 3
    other.execute(sa.text("UPDATE athanore_task SET labels = '[\"bug\"]'"))
    wait_until("it is told", lambda: board.change_stamp() == before + 4)
    assert {t.labels for t in board.get_ready_tasks(["Todo"])} == {("bug",)}


@contextmanager
def lost_commits(other: sa.Connection, table: str) -> Generator[None]:
    """Meanwhile whoever adds a row to a table loses his connection as he commits."""
    for statement in (
        "CREATE OR REPLACE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$",
        f"CREATE CONSTRAINT TRIGGER at_the_commit AFTER INSERT ON {table} "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION end_it()",
    ):
        other.execute(sa.text(statement))
    yield
    other.execute(sa.text(f"DROP TRIGGER at_the_commit ON {table}"))


def test_change_whose_confirmation_is_lost_is_in_doubt(
    board: SqlBoard, other: sa.Connection
) -> None:
    task = board.create_task("Todo", "kept")
    lost = pytest.raises(AnswerLostError, match="may have been made")
    with lost_commits(other, "athanore_comment"), lost:
        board.add_comment(task.id, "hello")
    board.add_comment(task.id, "hello")
    board.add_comment(task.id, "hello")
    assert [comment.text for comment in board.get_task(task.id).comments] == ["hello", "hello"]


@pytest.mark.parametrize("is_there", [True, False])
def test_task_whose_confirmation_is_lost_is_made_once(
    board: SqlBoard, other: sa.Connection, is_there: bool
) -> None:
    board.create_task("Todo", "new", "text")
    lost = pytest.raises(AnswerLostError, match="'new' again")
    with lost_commits(other, "athanore_task"), lost as caught:
        board.create_task("Todo", "new", "text")
    assert caught.value.may_repeat
    if is_there:  # as if the commit had reached the server
        row = "INSERT INTO athanore_task (queue, name, description) VALUES (1, 'new', 'text')"
        other.execute(sa.text(row))
    made = board.create_task("Todo", "new", "text")
    assert {task.id for task in board.get_ready_tasks(["Todo"])} == {"1", made.id}
    assert board.create_task("Todo", "new", "text").id != made.id


def looked(board: SqlBoard) -> int:
    """How often the counter was read in a hundred looks at the stamp."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        for _ in range(100):
            board.change_stamp()
    finally:
        event.remove(sa.Engine, "before_cursor_execute", note)
    return len([s for s in seen if "changes" in s])


def test_looking_at_a_board_at_rest_costs_the_server_nothing(
    board: SqlBoard, other: sa.Connection
) -> None:
    board.change_stamp()
    assert looked(board) <= 1
    before = board.change_stamp()
    other.execute(sa.text("INSERT INTO athanore_task (queue, name) VALUES (1, 'told')"))
    wait_until("it is told", lambda: board.change_stamp() == before + 1, 2)
    board.create_task("Todo", "our own")
    assert board.change_stamp() == before + 2
    assert looked(board) <= 1


def test_lost_connection_is_opened_again_and_nothing_is_missed(
    board: SqlBoard, other: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counter, "CONFIRM_EVERY", 0.2)
    before = board.change_stamp()
    ended = other.execute(
        sa.text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )
    assert ended.scalar_one() >= 1
    other.execute(sa.text("INSERT INTO athanore_task (queue, name) VALUES (1, 'untold')"))
    wait_until("it is seen", lambda: board.change_stamp() == before + 1, 5)


def test_where_nothing_is_told_the_counter_is_read_each_time(
    board: SqlBoard, other: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counter, "CONFIRM_EVERY", 0.05)
    monkeypatch.setattr(schema, "CHANNEL", "nobody_says_anything_here")
    for _ in range(3):
        before = board.change_stamp()
        other.execute(sa.text("UPDATE athanore_task SET place = 1"))
        other.execute(sa.text("INSERT INTO athanore_task (queue, name) VALUES (1, 'more')"))
        wait_until("it is seen", lambda b=before: board.change_stamp() > b, 5)
    monkeypatch.setattr(counter, "CONFIRM_EVERY", 600.0)
    assert looked(board) == 100


def test_board_is_told_from_others_by_a_mark_that_all_hosts_see(
    address: str, board: SqlBoard
) -> None:
    same = SqlBoard(address)
    assert same.board_identity().marks == board.board_identity().marks
    same.close()


def test_whole_board_goes_in_and_out(address: str) -> None:
    data = {
        "queues": {
            "Todo": [{"id": "abc", "name": "one", "comments": ["x"]}, {"id": 7, "name": "two"}],
            "Done": [],
        },
        "last_id": 9,
    }
    board = SqlBoard(address)
    board.prepare(["Later"])
    board.import_board(data)
    assert [t.id for t in board.get_ready_tasks(["Todo"])] == ["abc", "7"]
    assert [c.text for c in board.get_task("abc").comments] == ["x"]
    assert int(board.create_task("Done", "three").id) > 9
    exported = board.export_board()
    assert list(exported["queues"]) == ["Todo", "Done", "Later"]
    assert [t["id"] for t in exported["queues"]["Todo"]] == ["abc", "7"]
    assert exported["last_id"] == int(board.get_ready_tasks(["Done"])[0].id)
    board.close()
