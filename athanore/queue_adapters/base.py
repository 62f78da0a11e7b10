"""The port to a task board: one protocol of eleven methods, and some optional extras.

An adapter is synchronous, because the SDKs that people wrap are; Athanore calls it from worker
threads, several at a time, so an adapter must be thread-safe. It knows neither Prefect nor the API.

Every method may raise `BoardUnavailableError` (nothing was changed, try again later),
`BoardAccessError` (credentials or membership are wrong, or what is asked for cannot be seen any
more) and, if it writes, `AnswerLostError` (it may have been done). An adapter that can look whether
a write was done looks before it raises that. It translates every error of its vendor to one of
`athanore.errors`, with `from exc`, and lets none of the vendor's through.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    BoardUnavailableError,
    TaskMovedError,
)
from athanore.models import BoardIdentity, Queue, Task
from athanore.queue_adapters.lost_answers import still_lost, written

logger = logging.getLogger(__name__)


class QueueAdapter(Protocol):
    """A task board: queues of tasks, in the board's own order."""

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the open tasks of the given queues: queue by queue as given, in board order.

        One call reads all queues as of one moment where the board can do that, and must be cheap:
        it is what polling costs. Comments and checklists may be left out. One malformed task does
        not hide the others. Closed or archived tasks are not ready.

        Raises:
            QueueNotFoundError: one of the queues does not exist.
        """
        ...

    def get_task(self, task_id: str) -> Task:
        """Return one task whole: all comments, oldest first, and its checklist.

        Raises:
            TaskNotFoundError: no task has this id.
        """
        ...

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Move a task to the end of another queue. Moving it to where it is changes nothing.

        Raises:
            TaskNotFoundError: no task has this id.
            QueueNotFoundError: the target does not exist; the task stays where it was.
        """
        ...

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment, exactly once, after those that are there.

        Raises:
            TaskNotFoundError: no task has this id.
            InvalidTaskError: the text is empty.
        """
        ...

    def update_task(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Task:
        """Set the given fields, leave those that are None, and return the task as it is now.

        `assignees` and `labels` are whole new lists: an empty one clears. So does an empty
        description. A name must not be empty.

        Raises:
            TaskNotFoundError: no task has this id.
            InvalidTaskError: a value that the board cannot take (an unknown user, an empty name).
        """
        ...

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Create a task at the end of a queue and return it with its new id.

        Raises:
            QueueNotFoundError: no queue has this name.
            InvalidTaskError: the name is empty.
        """
        ...

    def list_queues(self) -> list[Queue]:
        """Return all queues, in board order, with their task counts."""
        ...

    def get_queue(self, queue_name: str) -> Queue:
        """Return one queue.

        Raises:
            QueueNotFoundError: no queue has this name.
        """
        ...

    def create_queue(self, queue_name: str) -> Queue:
        """Create an empty queue after the others.

        Raises:
            QueueExistsError: the name is taken.
            InvalidTaskError: the name is empty.
        """
        ...

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Rename a queue; its tasks and its place stay.

        Raises:
            QueueNotFoundError: no queue has this name.
            QueueExistsError: another queue has the new name.
            InvalidTaskError: the new name is empty.
        """
        ...

    def delete_queue(self, queue_name: str) -> None:
        """Delete an empty queue.

        Raises:
            QueueNotFoundError: no queue has this name.
            QueueNotEmptyError: tasks are in it; nothing is deleted.
        """
        ...


@runtime_checkable
class QueueBackend(Protocol):
    """What `queue_backend=` also takes: an object that makes the adapter when it is needed.

    `create_adapter` is called at run time and not at import, so that a script's own
    `load_dotenv()` counts.
    """

    def create_adapter(self) -> QueueAdapter:
        """Make the adapter; called once in a process."""
        ...


@runtime_checkable
class HasUser(Protocol):
    """An adapter that knows whom to assign at a claim."""

    @property
    def user(self) -> str | None:
        """The name that a claim adds to the assignees, or None to assign nobody."""
        ...


@runtime_checkable
class HasSecretEnv(Protocol):
    """An adapter whose credentials may stand in environment variables."""

    @property
    def secret_env(self) -> frozenset[str]:
        """The names of the variables that an agent must not inherit."""
        ...


@runtime_checkable
class HasSecrets(Protocol):
    """An adapter that was given credentials, and not only the names of variables."""

    @property
    def secrets(self) -> frozenset[str]:
        """What must show up nowhere; `[redacted]` stands in its place."""
        ...


@runtime_checkable
class HasIdentity(Protocol):
    """An adapter that can tell its board from others.

    Prefect remembers an app's board; an app of the same name on another board is refused, before
    it takes the runs of tasks that it does not have. Without this that is not checked.
    """

    def board_identity(self) -> BoardIdentity:
        """Say which board this is; asked when an app is deployed or started, and by commands.

        All who work on one board must have a mark in common, whatever host they are on and however
        they reach it, and a copy of it has none of them.

        Raises:
            BoardUnavailableError: that cannot be told now.
        """
        ...


@runtime_checkable
class SupportsPrepare(Protocol):
    """An adapter that can make its board ready at the start."""

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check that the board can be used; make a board that does not exist, with these queues.

        A board that exists is left as it is.

        Raises:
            ConfigurationError: the board can never work as it was given (its path is a folder).
            BoardBrokenError: the board's data are damaged.
        """
        ...


@runtime_checkable
class SupportsLook(Protocol):
    """An adapter that can look at its board's place before anything is there.

    `doctor` does that instead of preparing the board: it makes and changes nothing.
    """

    @property
    def place(self) -> str:
        """Where the board is, for people; without credentials."""
        ...

    def check_place(self) -> None:
        """Refuse a place that cannot hold a board.

        Raises:
            ConfigurationError: it cannot.
        """
        ...

    def exists(self) -> bool:
        """Tell whether the board is there; if not, `prepare` makes it.

        Raises:
            BoardError: that cannot be told now.
        """
        ...


@runtime_checkable
class SupportsClaim(Protocol):
    """An adapter that can claim in one atomic step."""

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Move a task from its source to its in-progress queue and assign it, all or nothing.

        Of several claims at once exactly one succeeds. Returns the whole task as claimed.

        Raises:
            TaskNotFoundError: no task has this id.
            TaskMovedError: the task is not in `source_queue`; nothing was changed.
            QueueNotFoundError: `target_queue` does not exist; nothing was changed.
            AnswerLostError: the task may be claimed; what follows is a claim from where it is then.
        """
        ...


@runtime_checkable
class SupportsChangeStamp(Protocol):
    """An adapter that can tell cheaply whether the board may have changed."""

    def change_stamp(self) -> Hashable | None:
        """Return a value that differs after every change of the board; None if unknown.

        A value does not come again, in no process, and all that see the same board see the same
        one. It is asked for five times a second, unless the adapter has `stamp_interval`.
        """
        ...


@runtime_checkable
class HasStampInterval(Protocol):
    """An adapter whose change stamp costs a request, so that it says how often it may be asked."""

    @property
    def stamp_interval(self) -> timedelta:
        """The time between two looks at the change stamp; at least 0.2 seconds."""
        ...


@runtime_checkable
class SupportsProblems(Protocol):
    """A board that holds cards which it cannot make tasks of, and can say why."""

    def problems(self) -> Sequence[str]:
        """Say of each such card what is wrong with it; empty if all can be read.

        Raises:
            BoardUnavailableError: the board cannot be read.
        """
        ...


@runtime_checkable
class SupportsWatchers(Protocol):
    """An adapter on whose board those who watch a queue can leave word of each other."""

    def watched_by(
        self, queue_name: str, watcher: str, place: str, valid_for: timedelta
    ) -> Sequence[str]:
        """Note that somebody watches a queue, and return the places of others who do.

        Args:
            queue_name: the watched queue.
            watcher: an id of who watches: one app on one Prefect.
            place: the same for people.
            valid_for: how long this note counts; for no time, it is taken back.

        Raises:
            BoardUnavailableError: the note cannot be left now.
        """
        ...


@runtime_checkable
class SupportsWebhook(Protocol):
    """An adapter that understands what its board's webhooks tell."""

    def affected_queues(self, payload: object, queue_names: Sequence[str]) -> list[str]:
        """Return which of the queues a webhook's payload may have changed.

        None if the change was our own, or the payload makes no sense: it comes from outside. A
        poll that follows must see the change, whatever the adapter has cached.
        """
        ...


@runtime_checkable
class SupportsSignedWebhook(Protocol):
    """As `SupportsWebhook`, where the board signs the raw body of what it delivers.

    `headers` have names in small letters; what is not signed is a `WebhookRefusedError`.
    """

    def queues_of_delivery(
        self, headers: Mapping[str, str], body: bytes, secret: str, queue_names: Sequence[str]
    ) -> list[str]: ...


def claim_task(
    adapter: QueueAdapter, task_id: str, *, source_queue: str, target_queue: str
) -> Task:
    """Claim a task: check that it is in its source queue, move it on, assign the board's user.

    Uses the adapter's atomic `claim_task` where it has one. Returns the whole task as claimed.

    Raises:
        TaskMovedError: the task is not in `source_queue`.
        AnswerLostError: the task may be in `target_queue`, or is, and could not be read there.
    """
    assignee = adapter.user if isinstance(adapter, HasUser) else None
    if isinstance(adapter, SupportsClaim):
        return adapter.claim_task(
            task_id, source_queue=source_queue, target_queue=target_queue, assignee=assignee
        )
    task = adapter.get_task(task_id)
    if task.queue_name != source_queue:
        raise TaskMovedError(task_id, expected=source_queue, actual=task.queue_name)
    try:
        adapter.move_task(task_id, target_queue)
    except AnswerLostError as lost:
        with still_lost(lost):
            if adapter.get_task(task_id).queue_name != target_queue:
                raise
    with written(f"Task {task_id!r} was moved to {target_queue!r}"):
        if assignee and assignee not in task.assignees:
            _assign(adapter, task, assignee)
        return adapter.get_task(task_id)


def _assign(adapter: QueueAdapter, task: Task, assignee: str) -> None:
    """Assign a task that is claimed; a board that refuses that does not undo the claim."""
    try:
        adapter.update_task(task.id, assignees=[*task.assignees, assignee])
    except (BoardUnavailableError, BoardAccessError):
        raise
    except BoardError as exc:
        logger.warning(
            "Task %r is claimed; %r was not assigned: %s",
            task.id,
            assignee,
            exc,
            extra={"action": "assignee_refused"},
        )
