"""A task board in a SQLite file: a queue adapter of your own."""

import json
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from athanore import Comment, Queue, Task, errors

SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS task (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, description TEXT NOT NULL,
    queue TEXT NOT NULL REFERENCES queue (name) ON UPDATE CASCADE, place INTEGER NOT NULL,
    labels TEXT NOT NULL DEFAULT '[]', assignees TEXT NOT NULL DEFAULT '[]');
CREATE TABLE IF NOT EXISTS comment (task_id INTEGER REFERENCES task (id), text TEXT, at TEXT);
"""
END = "(SELECT coalesce(max(place), 0) + 1 FROM task)"
COUNTS = "SELECT name, (SELECT count(*) FROM task WHERE queue = queue.name) FROM queue"


class SqliteAdapter:
    """Each method is one transaction, so threads and processes may share the file."""

    def __init__(self, path: str | Path, user: str | None = None) -> None:
        self._path = path
        self.user = user

    def prepare(self, queue_names: Sequence[str]) -> None:
        with self._transaction() as db:
            for statement in filter(str.strip, SCHEMA.split(";")):
                db.execute(statement)
            if not self._names(db):
                db.executemany("INSERT INTO queue VALUES (?)", [(n,) for n in queue_names])

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        query = "SELECT * FROM task WHERE queue = ? ORDER BY place"
        with self._transaction() as db:
            for name in queue_names:
                self._check_queue(db, name)
            return [_task(row) for name in queue_names for row in db.execute(query, (name,))]

    def get_task(self, task_id: str) -> Task:
        with self._transaction() as db:
            return self._read(db, task_id)

    def move_task(self, task_id: str, target_queue: str) -> None:
        with self._transaction() as db:
            task = self._read(db, task_id)
            self._check_queue(db, target_queue)
            if task.queue_name != target_queue:
                move = f"UPDATE task SET queue = ?, place = {END} WHERE id = ?"
                db.execute(move, (target_queue, task_id))

    def add_comment(self, task_id: str, text: str) -> None:
        _check_filled("comment", text)
        with self._transaction() as db:
            self._read(db, task_id)
            now = datetime.now(UTC).isoformat()
            db.execute("INSERT INTO comment VALUES (?, ?, ?)", (task_id, text, now))

    def update_task(
        self, task_id: str, *, assignees: Sequence[str] | None = None, name: str | None = None,
        description: str | None = None, labels: Sequence[str] | None = None,
    ) -> Task:  # fmt: skip
        given = {"name": name, "description": description}
        for field, words in (("assignees", assignees), ("labels", labels)):
            given[field] = None if words is None else json.dumps(list(words))
        with self._transaction() as db:
            self._read(db, task_id)
            _check_filled("name", name)
            for field, value in given.items():
                update = f"UPDATE task SET {field} = coalesce(?, {field}) WHERE id = ?"
                db.execute(update, (value, task_id))
            return self._read(db, task_id)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        _check_filled("name", name)
        insert = f"INSERT INTO task (queue, name, description, place) VALUES (?, ?, ?, {END})"
        with self._transaction() as db:
            self._check_queue(db, queue_name)
            made = db.execute(insert, (queue_name, name, description))
            return self._read(db, str(made.lastrowid))

    def list_queues(self) -> list[Queue]:
        with self._transaction() as db:
            return [Queue(*row) for row in db.execute(f"{COUNTS} ORDER BY rowid")]

    def get_queue(self, queue_name: str) -> Queue:
        with self._transaction() as db:
            self._check_queue(db, queue_name)
            return Queue(*db.execute(f"{COUNTS} WHERE name = ?", (queue_name,)).fetchone())

    def create_queue(self, queue_name: str) -> Queue:
        _check_filled("name", queue_name)
        with self._transaction() as db:
            if queue_name in self._names(db):
                raise errors.QueueExistsError(queue_name)
            db.execute("INSERT INTO queue VALUES (?)", (queue_name,))
        return Queue(queue_name, 0)

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        _check_filled("name", new_name)
        with self._transaction() as db:
            self._check_queue(db, queue_name)
            if new_name != queue_name and new_name in self._names(db):
                raise errors.QueueExistsError(new_name)
            db.execute("UPDATE queue SET name = ? WHERE name = ?", (new_name, queue_name))
        return self.get_queue(new_name)

    def delete_queue(self, queue_name: str) -> None:
        with self._transaction() as db:
            self._check_queue(db, queue_name)
            _, count = db.execute(f"{COUNTS} WHERE name = ?", (queue_name,)).fetchone()
            if count:
                raise errors.QueueNotEmptyError(queue_name, count)
            db.execute("DELETE FROM queue WHERE name = ?", (queue_name,))

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as db, db:
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("BEGIN IMMEDIATE")
                yield db
        except sqlite3.Error as exc:
            raise errors.BoardUnavailableError(f"The board {self._path}: {exc}.") from exc

    def _names(self, db: sqlite3.Connection) -> list[str]:
        return [row["name"] for row in db.execute("SELECT name FROM queue ORDER BY rowid")]

    def _check_queue(self, db: sqlite3.Connection, name: str) -> None:
        if name not in (names := self._names(db)):
            raise errors.QueueNotFoundError(name, names)

    def _read(self, db: sqlite3.Connection, task_id: str) -> Task:
        row = db.execute("SELECT * FROM task WHERE CAST(id AS TEXT) = ?", (task_id,)).fetchone()
        if row is None:
            raise errors.TaskNotFoundError(task_id)
        query = "SELECT text, at FROM comment WHERE task_id = ? ORDER BY rowid"
        found = db.execute(query, (task_id,))
        return _task(
            row, *(Comment(c["text"], None, datetime.fromisoformat(c["at"])) for c in found)
        )


def _task(row: sqlite3.Row, *comments: Comment) -> Task:
    labels, assignees = tuple(json.loads(row["labels"])), tuple(json.loads(row["assignees"]))
    about = (str(row["id"]), row["name"], row["queue"], row["description"])
    return Task(*about, labels, assignees, comments)


def _check_filled(field: str, value: str | None) -> None:
    if value is not None and not value.strip():
        raise errors.InvalidTaskError(f"The {field} must not be empty.")
