"""A board in a SQL database, which any number of processes use at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from athanore.errors import (
    QueueExistsError,
    QueueNotEmptyError,
    TaskMovedError,
)
from athanore.models import BoardIdentity, Queue, Task
from athanore.queue_adapters.document.adapter import DEFAULT_AUTHOR
from athanore.queue_adapters.document.whole import readable
from athanore.queue_adapters.sql import copying, queries, rows, schema, watchers
from athanore.queue_adapters.sql.address import read_address
from athanore.queue_adapters.sql.database import Database
from athanore.queue_adapters.sql.engines import check_file
from athanore.queue_adapters.tracker.looking import Writes
from athanore.queue_adapters.user import LOGIN_NAME, User, user_name
from athanore.texts import is_storable

_task, _queue, _comment = schema.task, schema.queue, schema.comment


class SqlBoard:
    """A board in SQLite or PostgreSQL: for more tasks, and more writers, than a file is good for.

        SqlBoard("sqlite:///board.db")
        SqlBoard("postgresql+psycopg://athanore@db.example.com/boards")

    Any number of threads, processes and, with PostgreSQL, hosts may use one board, and other
    programs may write to its tables. A board that does not exist is made at the start; older
    tables are brought up to date. Every change is one transaction, and nothing is locked between
    two calls.

    Args:
        address: the address of the database, or the path of a SQLite file. A relative path is one
            from the current folder, as that of `JsonFileAdapter`.
        queues: the queues of a new board besides those that the routes name, such as one to which
            people take what is done.
        user: whom a claim assigns, and who signs the comments; None assigns nobody. By default the
            login name.

    Raises:
        ConfigurationError: the address makes no sense.
    """

    def __init__(
        self,
        address: str | os.PathLike[str],
        *,
        queues: Sequence[str] = (),
        user: User = LOGIN_NAME,
    ) -> None:
        self._address = read_address(address)
        self._database = Database(self._address)
        self._queues = tuple(queues)
        self._writes = Writes()
        self._user = user_name(user)

    def __repr__(self) -> str:
        return f"SqlBoard({self.place!r})"

    @property
    def place(self) -> str:
        """Where the board is, for people."""
        return self._address.place

    @property
    def user(self) -> str | None:
        """Whom a claim assigns."""
        return self._user

    @property
    def secrets(self) -> frozenset[str]:
        """The passwords in the address."""
        return self._address.secrets

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the password, or the address with it."""
        return self._address.secret_variables(os.environ)

    # --- the board ---

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Make the board with these queues if there is none; bring older tables up to date.

        Raises:
            ConfigurationError: the database is closed to us, another program's, or of a newer
                Athanore; or its driver is missing.
            BoardUnavailableError: it does not answer now.
        """
        wanted = dict.fromkeys((*queue_names, *self._queues))
        self._database.prepare([rows.queue_name_of(name) for name in wanted])

    def check_place(self) -> None:
        """Refuse a place that cannot hold a board; nothing is made.

        Raises:
            ConfigurationError: it cannot.
        """
        if self._address.file is not None:
            check_file(self._address.file)
        self._database.engine()

    def exists(self) -> bool:
        """Tell whether the board was made already.

        Raises:
            BoardError: the database does not answer, or refuses us.
        """
        return self._database.has_board()

    def change_stamp(self) -> int:
        """Return the number of transactions that changed the board, whoever made them."""
        return self._database.changes()

    def watched_by(
        self, queue_name: str, watcher: str, place: str, valid_for: timedelta
    ) -> Sequence[str]:
        """Note who watches a queue, and return the places of the others."""
        with self._database.write() as connection:
            return watchers.note(connection, queue_name, watcher, place, valid_for)

    def board_identity(self) -> BoardIdentity:
        """Tell the board by the id in it, and by what a copy of the database has otherwise.

        That is the file's inode, or the number of the database in its PostgreSQL.
        """
        file = self._address.file
        with self._database.read() as connection:
            known = connection.execute(sa.select(schema.board.c.identity)).scalar_one()
            if file is None:
                query = "SELECT oid FROM pg_database WHERE datname = current_database()"
                number = connection.execute(sa.text(query)).scalar_one()
                return BoardIdentity((f"sql:{known}:{number}",), self.place)
        real, host = os.path.realpath(file), socket.gethostname()
        inode = os.stat(real).st_ino
        return BoardIdentity((f"sql:{known}:{inode}", f"{host}:{real}"), f"{real} on {host}")

    def export_board(self) -> dict[str, Any]:
        """Return the whole board in the format of the JSON file, as of one moment."""
        with self._database.snapshot() as connection:
            return copying.take(connection)

    def import_board(self, board: Mapping[str, Any]) -> None:
        """Put a board in the format of the JSON file into this one, which must be empty.

        The fields of tasks that have no column are kept, and come out again; those of comments and
        of the board are not.
        """
        document = readable(board)
        with self._database.write() as connection:
            copying.fill(connection, document)

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens others."""
        self._database.close()

    # --- tasks ---

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the tasks of the queues, without comments and checklists, in board order."""
        names = list(dict.fromkeys(queue_names))
        with self._database.read() as connection:
            # Their numbers first: from them PostgreSQL knows how many tasks a queue has, and so
            # whether to go by the index.
            named = _queue.c.name.in_([name for name in names if is_storable(name)])
            rows_of = connection.execute(sa.select(_queue.c.name, _queue.c.number).where(named))
            numbers = dict(rows_of.tuples().all())
            for name in names:
                if name not in numbers:
                    raise queries.unknown(connection, name)
            query = (
                sa.select(*rows.COLUMNS)
                .join_from(_task, _queue)
                .where(_task.c.queue.in_(numbers.values()))
                .order_by(_task.c.queue, _task.c.place, _task.c.number)
            )
            found: dict[str, list[Task]] = {name: [] for name in names}
            for row in connection.execute(query):
                if row.queue_name in found:  # or it was renamed a moment ago
                    found[row.queue_name].append(rows.task_of(row))
        return [task for name in names for task in found[name]]

    def get_task(self, task_id: str) -> Task:
        """Return one task, whole."""
        with self._database.read() as connection:
            return queries.whole(connection, task_id)

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Move a task to the end of another queue."""
        with self._database.write() as connection:
            queries.check_task(connection, task_id)
            target = queries.number_of(connection, target_queue)
            moved = sa.update(_task).where(rows.where_id(task_id), _task.c.queue != target)
            change = moved.values(queue=target, place=queries.end_of(target))
            connection.execute(change)

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Move a task from its source to its in-progress queue, in one statement, and assign it."""
        with self._database.write() as connection:
            task = queries.whole(connection, task_id)
            if task.queue_name != source_queue:
                raise TaskMovedError(task_id, expected=source_queue, actual=task.queue_name)
            target = queries.number_of(connection, target_queue)
            source = sa.select(_queue.c.number).where(queries.is_called(source_queue))
            is_there = _task.c.queue == target
            place = sa.case((is_there, _task.c.place), else_=queries.end_of(target))
            change = (
                sa.update(_task)
                .where(rows.where_id(task_id), _task.c.queue == source.scalar_subquery())
                .values(queue=target, place=place)
            )
            if connection.execute(change).rowcount == 0:
                actual = queries.whole(connection, task_id).queue_name
                raise TaskMovedError(task_id, expected=source_queue, actual=actual)
            # The row is ours until the end of the transaction.
            task = queries.whole(connection, task_id)
            if assignee and assignee not in task.assignees:
                value = rows.listed("assignees", [*task.assignees, assignee])
                found = rows.where_id(task_id)
                connection.execute(sa.update(_task).where(found).values(assignees=value))
                task = queries.whole(connection, task_id)
            return task

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment that the adapter's user signs; its time is the mark to find it by.

        Raises:
            AnswerLostError: the connection was lost twice while the comment was confirmed.
        """

        def row(connection: sa.Connection, created_at: str) -> dict[str, object]:
            return {
                "task": queries.check_task(connection, task_id),
                "text": rows.filled("the text of a comment", text),
                "author": self._user or DEFAULT_AUTHOR,
                "created_at": created_at,
            }

        def send(created_at: str) -> None:
            with self._database.write() as connection:
                values = row(connection, created_at)
                connection.execute(sa.insert(_comment).values(values))

        def find(created_at: str) -> bool | None:
            with self._database.read() as connection:
                same = row(connection, created_at)
                query = sa.select(_comment.c.number).filter_by(**same).limit(1)
                return connection.execute(query).first() is not None or None

        self._writes.comment(task_id, text, lambda: rows.as_time(datetime.now(UTC)), send, find)

    def update_task(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Task:
        """Set the given fields and return the task as it is then."""
        with self._database.write() as connection:
            queries.check_task(connection, task_id)
            given = {
                "name": None if name is None else rows.filled("name", name),
                "description": (
                    None if description is None else rows.plain("description", description)
                ),
                "labels": None if labels is None else rows.listed("labels", labels),
                "assignees": None if assignees is None else rows.listed("assignees", assignees),
            }
            values = {field: value for field, value in given.items() if value is not None}
            if values:
                change = sa.update(_task).where(rows.where_id(task_id)).values(values)
                connection.execute(change)
            return queries.whole(connection, task_id)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Create a task at the end of a queue and return it.

        Its mark to find it by are its words, and that it is newer than all that were there.

        Raises:
            AnswerLostError: the connection was lost twice while the task was confirmed.
        """
        words = {
            "name": rows.filled("name", name),
            "description": rows.plain("description", description),
        }
        empty = {"labels": "[]", "assignees": "[]", "checklist": "[]", "extra": "{}"}

        def newest() -> int:
            with self._database.read() as connection:
                return connection.execute(sa.select(sa.func.max(_task.c.number))).scalar() or 0

        def send(_: int) -> Task:
            with self._database.write() as connection:
                number = queries.number_of(connection, queue_name)
                place = {"queue": number, "place": queries.end_of(number)}
                values = {**words, **empty, **place}
                made = connection.execute(sa.insert(_task).values(values)).inserted_primary_key
                assert made is not None
                return queries.whole(connection, str(made[0]))

        def find(newest: int) -> Task | None:
            with self._database.read() as connection:
                query = sa.select(_task.c.number).filter_by(**words).where(_task.c.number > newest)
                found = connection.execute(query.limit(1)).scalar()
                return None if found is None else queries.whole(connection, str(found))

        return self._writes.task(queue_name, name, description, newest, send, find, tries=1)

    # --- queues ---

    def list_queues(self) -> list[Queue]:
        """Return all queues, in board order."""
        counted = (
            sa.select(_queue.c.name, sa.func.count(_task.c.number))
            .select_from(_queue.outerjoin(_task))
            .group_by(_queue.c.number, _queue.c.name)
            .order_by(_queue.c.number)
        )
        with self._database.read() as connection:
            return [Queue(name, count) for name, count in connection.execute(counted)]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one queue."""
        with self._database.read() as connection:
            return queries.one_queue(connection, queue_name)

    def create_queue(self, queue_name: str) -> Queue:
        """Create an empty queue after the others."""
        name = rows.queue_name_of(queue_name)
        with self._database.write() as connection:
            try:
                connection.execute(sa.insert(_queue).values(name=name))
            except IntegrityError as exc:
                raise QueueExistsError(name) from exc
        return Queue(name, 0)

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Rename a queue."""
        with self._database.write() as connection:
            number = queries.number_of(connection, queue_name)
            name = rows.queue_name_of(new_name)
            change = sa.update(_queue).where(_queue.c.number == number).values(name=name)
            try:
                connection.execute(change)
            except IntegrityError as exc:
                raise QueueExistsError(name) from exc
            return queries.one_queue(connection, name)

    def delete_queue(self, queue_name: str) -> None:
        """Delete an empty queue."""
        with self._database.write() as connection:
            number = queries.number_of(connection, queue_name)
            if count := queries.one_queue(connection, queue_name).task_count:
                raise QueueNotEmptyError(queue_name, count)
            try:
                connection.execute(sa.delete(_queue).where(_queue.c.number == number))
            except IntegrityError as exc:  # somebody has put a task there meanwhile
                raise QueueNotEmptyError(queue_name, 1) from exc
