"""A board that is one document: the eleven methods of the port, over one read and one change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from athanore.models import Queue, Task
from athanore.queue_adapters.document.document import Document
from athanore.queue_adapters.document.whole import readable

DEFAULT_AUTHOR = "athanore"


class DocumentAdapter(ABC):
    """What `JsonFileAdapter` and `MemoryAdapter` share; see `QueueAdapter` for the obligations.

    Args:
        user: whom a claim assigns, and who signs the comments; None assigns nobody.
    """

    def __init__(self, user: str | None) -> None:
        self._user = user

    @abstractmethod
    def _read(self) -> Document:
        """Return the board as it is now."""

    @abstractmethod
    def _change(self, change: Callable[[Document], Document]) -> Document:
        """Apply a change to the board as it is now, alone, and return what it is afterwards.

        The change may be called again if the board was changed meanwhile.
        """

    @property
    def user(self) -> str | None:
        """Whom a claim assigns."""
        return self._user

    def export_board(self) -> dict[str, Any]:
        """Return the whole board in the format of the JSON file."""
        return self._read().data

    def import_board(self, board: Mapping[str, Any]) -> None:
        """Put a board in the format of the JSON file into this one, which must be empty."""
        new = readable(board)
        self._change(lambda old: old.with_board(new))

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the tasks of the queues, without comments and checklists, in board order."""
        return self._read().ready_tasks(queue_names)

    def get_task(self, task_id: str) -> Task:
        """Return one task, whole."""
        return self._read().task(task_id)

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Move a task to the end of another queue."""
        self._change(lambda board: board.with_task_moved(task_id, target_queue))

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Move a task from its source to its in-progress queue and assign it, in one change."""
        board = self._change(
            lambda board: board.with_task_claimed(task_id, source_queue, target_queue, assignee)
        )
        return board.task(task_id)

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment that the adapter's user signs."""
        author, now = self._user or DEFAULT_AUTHOR, datetime.now(UTC)
        self._change(lambda board: board.with_comment(task_id, text, author, now))

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
        board = self._change(
            lambda board: board.with_task_updated(
                task_id, assignees=assignees, name=name, description=description, labels=labels
            )
        )
        return board.task(task_id)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Create a task at the end of a queue and return it."""
        board = self._change(lambda board: board.with_task_created(queue_name, name, description))
        return board.last_task(queue_name)

    def problems(self) -> Sequence[str]:
        """Say of each entry that cannot be read what is wrong with it."""
        return self._read().problems

    def list_queues(self) -> list[Queue]:
        """Return all queues, in board order."""
        board = self._read()
        return [board.queue(name) for name in board.queues]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one queue."""
        return self._read().queue(queue_name)

    def create_queue(self, queue_name: str) -> Queue:
        """Create an empty queue after the others."""
        return self._change(lambda board: board.with_queue_created(queue_name)).queue(queue_name)

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Rename a queue."""
        board = self._change(lambda board: board.with_queue_renamed(queue_name, new_name))
        return board.queue(new_name)

    def delete_queue(self, queue_name: str) -> None:
        """Delete an empty queue."""
        self._change(lambda board: board.without_queue(queue_name))
