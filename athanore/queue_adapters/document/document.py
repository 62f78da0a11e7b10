"""A board as one JSON document: each change makes the next state from the last. No I/O here."""

from __future__ import annotations

import reprlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from athanore.errors import (
    ConfigurationError,
    InvalidTaskError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.models import Queue, Task
from athanore.queue_adapters.document.reading import (
    JsonObject,
    id_of,
    items_of,
    kind_of,
    number_of,
    problem_of,
    strings_of,
    summary_of,
    whole_task,
)

type JsonQueues = dict[str, list[Any]]

LAST_ID = "last_id"
"""The field of a board that says which numeric id is the highest so far, of deleted tasks, too.

Prefect remembers what happened to a task by its id: no other task may have it.
"""


class ShapeError(ValueError):
    """The document is valid JSON but no board."""


@dataclass(frozen=True, slots=True)
class Document:
    """One state of a board. It is never changed, so readers need no lock.

    A change returns a new state that shares with this one whatever it did not touch, or this very
    one if nothing changes. Fields that nobody here knows are carried along. A task that cannot be
    read (see `problems`) stays in `data`, counts as a card of its queue, and is otherwise ignored.

    Attributes:
        data: the JSON value, `{"queues": {name: [task, ...]}}`, perhaps with `last_id`.
        tasks: the readable tasks by id: the queue's name, and the task as it is in `data`.
        problems: what is wrong with the others, in words that stay the same while it is.
        last_id: the highest numeric id ever seen, so that none is given out twice.
    """

    data: JsonObject
    tasks: Mapping[str, tuple[str, JsonObject]]
    problems: tuple[str, ...] = ()
    last_id: int = 0

    @classmethod
    def parse(cls, data: object, last_id: int = 0) -> Document:
        """Read a JSON value.

        Raises:
            ShapeError: it is no board; the message says what is missing where.
        """
        if not isinstance(data, dict):
            raise ShapeError(f'the board must be an object with "queues", not {kind_of(data)}')
        board = cast("JsonObject", data)
        queues: object = board.get("queues")
        if not isinstance(queues, dict):
            found = "it is missing" if queues is None else f"it is {kind_of(queues)}"
            raise ShapeError(f'"queues" must be an object of queues by name, but {found}')
        for name, tasks in cast("JsonObject", queues).items():
            if not isinstance(tasks, list):
                raise ShapeError(
                    f"the queue {name!r} must be a list of tasks, not {kind_of(tasks)}"
                )
        return cls._index(board, last_id)

    @classmethod
    def _index(cls, data: JsonObject, last_id: int) -> Document:
        tasks: dict[str, tuple[str, JsonObject]] = {}
        problems: list[str] = []
        queues: JsonQueues = data["queues"]
        last_id = max(last_id, number_of(data.get(LAST_ID)))
        for queue_name, raws in queues.items():
            for raw in raws:
                task_id = id_of(raw)
                if task_id.isdecimal() and len(task_id) < 40:
                    last_id = max(last_id, int(task_id))
                if problem := problem_of(raw, task_id):
                    problems.append(f"{problem} in the queue {queue_name!r}")
                    continue
                # Of tasks with one id the last counts, because tasks move towards the end of the
                # board: so a copy that a person left behind never passes for the one at work.
                if shadowed := tasks.get(task_id):
                    problems.append(
                        f"the id {task_id!r} is used again after the task in {shadowed[0]!r}"
                    )
                tasks[task_id] = (queue_name, raw)
        return cls(data, tasks, tuple(problems), last_id)

    # --- reading ---

    @property
    def queues(self) -> JsonQueues:
        """The queues as they are in the data."""
        return self.data["queues"]

    def ready_tasks(self, queue_names: Iterable[str]) -> list[Task]:
        """The readable tasks of the queues, without comments and checklists, in board order."""
        return [
            summary_of(name, raw)
            for name in dict.fromkeys(queue_names)
            for raw in self._queue(name)
            if (entry := self.tasks.get(id_of(raw))) and entry[1] is raw
        ]

    def task(self, task_id: str) -> Task:
        """One task, whole."""
        return whole_task(*self._find(task_id))

    def last_task(self, queue_name: str) -> Task:
        """The task at the end of a queue that is not empty."""
        return whole_task(queue_name, self._queue(queue_name)[-1])

    def queue(self, queue_name: str) -> Queue:
        """One queue, and how many cards are in it, readable or not."""
        return Queue(queue_name, len(self._queue(queue_name)))

    def _queue(self, name: str) -> list[Any]:
        if name not in self.queues:
            raise QueueNotFoundError(name, self.queues)
        return self.queues[name]

    def _find(self, task_id: str) -> tuple[str, JsonObject]:
        if task_id not in self.tasks:
            raise TaskNotFoundError(task_id)
        return self.tasks[task_id]

    # --- changing tasks ---

    def with_task_moved(self, task_id: str, target_queue: str) -> Document:
        """Move a task to the end of another queue."""
        queue_name, raw = self._find(task_id)
        self._queue(target_queue)
        return self if target_queue == queue_name else self._put(task_id, target_queue, raw)

    def with_task_claimed(
        self, task_id: str, source_queue: str, target_queue: str, assignee: str | None
    ) -> Document:
        """Move a task on from where it must be, and assign it."""
        queue_name, raw = self._find(task_id)
        if queue_name != source_queue:
            raise TaskMovedError(task_id, expected=source_queue, actual=queue_name)
        self._queue(target_queue)
        if assignee and assignee not in strings_of(raw.get("assignees")):
            raw = raw | {"assignees": [*items_of(raw.get("assignees")), assignee]}
        return self._put(task_id, target_queue, raw)._with_last_id()

    def with_comment(self, task_id: str, text: str, author: str, at: datetime) -> Document:
        """Add a comment after those that are there."""
        queue_name, raw = self._find(task_id)
        time = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        comment = {
            "text": required("the text of a comment", text),
            "author": author,
            "created_at": time,
        }
        return self._put(
            task_id, queue_name, raw | {"comments": [*items_of(raw.get("comments")), comment]}
        )

    def with_task_updated(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Document:
        """Set the fields that are not None."""
        queue_name, raw = self._find(task_id)
        given: JsonObject = {
            "name": None if name is None else required("name", name),
            "description": None if description is None else valid("description", description),
            "labels": None if labels is None else valid_list("labels", labels),
            "assignees": None if assignees is None else valid_list("assignees", assignees),
        }
        changed = raw | {field: value for field, value in given.items() if value is not None}
        return self if changed == raw else self._put(task_id, queue_name, changed)

    def with_task_created(self, queue_name: str, name: str, description: str) -> Document:
        """Add a task with a new id at the end of a queue."""
        words = {
            "name": required("name", name),
            "description": valid("description", description),
        }
        queue = self._queue(queue_name)
        raw: JsonObject = {
            "id": self._new_id(),
            **words,
            "labels": [],
            "assignees": [],
            "comments": [],
            "tasks": [],
        }
        entry = {raw["id"]: (queue_name, raw)}
        document = self._next(self.queues | {queue_name: [*queue, raw]}, {**self.tasks, **entry})
        if raw["id"].isdecimal():
            document = replace(document, last_id=self.last_id + 1)
        return document._with_last_id()

    def _new_id(self) -> str:
        """The next number, or something random on a board whose ids are no numbers."""
        if self.last_id or not self.tasks:
            return str(self.last_id + 1)
        return uuid.uuid4().hex

    def _with_last_id(self) -> Document:
        """Note the highest id on the board: whoever reads it next knows of deleted tasks."""
        known = number_of(self.data.get(LAST_ID))
        if not known < self.last_id < 2**63:  # what is larger is no number in the file
            return self
        return replace(self, data=self.data | {LAST_ID: self.last_id})

    def _put(self, task_id: str, queue_name: str, raw: JsonObject) -> Document:
        """Replace a task where it is, or take it away there and add it to another queue."""
        old_queue, old = self.tasks[task_id]
        if queue_name == old_queue:
            changed = {queue_name: [raw if r is old else r for r in self.queues[queue_name]]}
        else:
            changed = {
                old_queue: [r for r in self.queues[old_queue] if r is not old],
                queue_name: [*self.queues[queue_name], raw],
            }
        return self._next(self.queues | changed, {**self.tasks, task_id: (queue_name, raw)})

    def _next(
        self, queues: JsonQueues, tasks: Mapping[str, tuple[str, JsonObject]] | None = None
    ) -> Document:
        """The state with other queues; `tasks` saves the reading of all of them."""
        data = self.data | {"queues": queues}
        if tasks is None or self.problems:
            return Document._index(data, self.last_id)
        return Document(data, tasks, (), self.last_id)

    def with_board(self, new: Document) -> Document:
        """Take over another board; the queues that are here follow its own.

        Raises:
            ConfigurationError: there are tasks here.
        """
        check_empty(sum(map(len, self.queues.values())))
        queues = new.queues | {name: q for name, q in self.queues.items() if name not in new.queues}
        last_id = max(self.last_id, new.last_id)
        return Document._index(self.data | new.data | {"queues": queues}, last_id)._with_last_id()

    # --- changing queues ---

    def with_queue_created(self, queue_name: str) -> Document:
        """Add an empty queue after the others."""
        self._check_free(queue_name)
        return self._next({**self.queues, queue_name: []}, self.tasks)

    def with_queue_renamed(self, queue_name: str, new_name: str) -> Document:
        """Give a queue another name, in its place."""
        self._queue(queue_name)
        if new_name == queue_name:
            return self
        self._check_free(new_name)
        return self._next(
            {new_name if name == queue_name else name: q for name, q in self.queues.items()}
        )

    def without_queue(self, queue_name: str) -> Document:
        """Remove an empty queue."""
        if queue := self._queue(queue_name):
            raise QueueNotEmptyError(queue_name, len(queue))
        return self._next(
            {name: q for name, q in self.queues.items() if name != queue_name}, self.tasks
        )

    def _check_free(self, queue_name: str) -> None:
        if required("the name of a queue", queue_name) in self.queues:
            raise QueueExistsError(queue_name)


def check_empty(task_count: int) -> None:
    """Refuse to import into a board with tasks.

    Raises:
        ConfigurationError: it has some.
    """
    if task_count:
        raise ConfigurationError(
            f"The board has {task_count} {'task' if task_count == 1 else 'tasks'} already, and "
            "nothing was imported; import into an empty board."
        )


def valid(field: str, text: object) -> str:
    """Return a text that can be stored.

    Raises:
        InvalidTaskError: it is no string, or one with halves of characters.
    """
    if not isinstance(text, str):
        raise InvalidTaskError(f"{field} must be a string, not {reprlib.repr(text)}.")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidTaskError(
            f"{field} is not valid Unicode: half of a character at position {exc.start}."
        ) from exc
    return text


def required(field: str, text: object) -> str:
    """Return a text that can be stored and is not blank.

    Raises:
        InvalidTaskError: it is blank, or cannot be stored.
    """
    if not valid(field, text).strip():
        raise InvalidTaskError(f"{field} must not be empty.")
    return cast("str", text)


def valid_list(field: str, values: Sequence[str]) -> list[str]:
    """Return a list of texts that can be stored.

    Raises:
        InvalidTaskError: it is one text instead of a list, or one of them is blank.
    """
    if isinstance(values, str):
        raise InvalidTaskError(f"{field} must be a list of strings, not the string {values!r}.")
    return [required(f"every one of {field}", value) for value in values]
