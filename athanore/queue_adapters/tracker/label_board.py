"""A board whose queues are labels: what is the same whatever tracker has the issues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    ConfigurationError,
    InvalidTaskError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
)
from athanore.models import Comment, Queue, Task
from athanore.queue_adapters.tracker.answers import MissingError, RefusedValueError
from athanore.queue_adapters.tracker.checks import check_comment
from athanore.queue_adapters.tracker.labels import Labels
from athanore.queue_adapters.tracker.picture import Card, Picture

NO_QUEUE = "(no label of the board)"
CLOSED = "(closed)"
"""Where an issue is that has left the board, for messages and states."""


class LabelTakenError(RefusedValueError):
    """There is a label of this name already."""


class Labelled(Card, Protocol):
    """An issue with labels."""

    @property
    def labels(self) -> Sequence[str]: ...

    def task(
        self, queue: str, labels: Iterable[str], comments: Iterable[Comment] = (), /
    ) -> Task: ...


@dataclass(frozen=True, slots=True)
class Delivery[C: Card]:
    """One event of a webhook: the labels that it is about, and the issue if there is one."""

    labels: frozenset[str]
    issue: C | None = None
    renames: bool = False
    """Whether the labels themselves have changed, which changes no issue."""


class Deliveries[C: Card](Protocol):
    """Reads what a webhook delivers."""

    def read(self, headers: Mapping[str, str], body: bytes, secret: str) -> Delivery[C] | None: ...

    def acting(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Act on a delivery that was read: if that fails, it counts when it is sent again."""
        ...


class Tracker[C: Labelled](Protocol):
    """One project's issues and labels; what is not there is a `MissingError`.

    `issue`, `comments` and `comment` raise `TaskNotFoundError` instead, if it is the issue.
    """

    @property
    def picture(self) -> Picture[C]: ...

    def issue(self, task_id: str) -> C: ...

    def comments(self, issue: C) -> list[Comment]: ...

    def comment(self, task_id: str, text: str) -> None: ...

    def make_label(self, label: str) -> None:
        """Make a label; raises `LabelTakenError`."""
        ...

    def rename_label(self, label: str, new_name: str) -> None:
        """Rename a label, which its issues keep; raises `LabelTakenError`."""
        ...

    def delete_label(self, label: str) -> None: ...

    def issues_with(self, label: str) -> int:
        """Count the issues with a label, also closed ones."""
        ...

    def invisible(self, missing: MissingError) -> BoardAccessError:
        """The error of a project that is said to be not there."""
        ...


class LabelBoard[C: Labelled]:
    """The methods of `QueueAdapter` that need nothing else than a tracker's issues and labels."""

    def __init__(self, tracker: Tracker[C], labels: Labels, deliveries: Deliveries[C]) -> None:
        self._tracker = tracker
        self._labels = labels
        self._deliveries = deliveries

    # --- tasks ---

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the open issues of the queues, with checklists and without comments."""
        return [self.task(issue, queue) for queue, issue in self.ready(queue_names)]

    def get_task(self, task_id: str) -> Task:
        """Return one issue whole, as it is now; also one that is closed, or in no queue."""
        return self.whole(self._tracker.issue(task_id))

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment; the account of the token signs it.

        Raises:
            AnswerLostError: the answer was lost twice, and the comment was not found (yet).
        """
        check_comment(task_id, text)
        self._tracker.comment(task_id, text)

    # --- queues ---

    def list_queues(self) -> list[Queue]:
        """Return the queues that have a label, and how many open issues are in each."""
        counts = Counter(map(self.queue_of, self._issues()))
        return [Queue(name, counts[name]) for name in self.queues()]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one queue."""
        self.label(queue_name)
        return next(queue for queue in self.list_queues() if queue.name == queue_name)

    def create_queue(self, queue_name: str) -> Queue:
        """Make the label of a queue."""
        label = self._labels.family.label_of(queue_name)
        if queue_name in self.queues(anew=True):
            raise QueueExistsError(queue_name)
        self._change(
            lambda: self._tracker.make_label(label),
            queue_name,
            lambda: queue_name in self.queues(),
        )
        self.queues(anew=True)
        return self.get_queue(queue_name)

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Rename the label of a queue; its issues keep it."""
        old = self.label(queue_name, anew=True)
        if queue_name == new_name:
            return self.get_queue(queue_name)
        new = self._labels.family.label_of(new_name)
        if new_name in self.queues() or self._labels.family.named is not None:
            raise QueueExistsError(new_name)
        self._change(
            lambda: self._tracker.rename_label(old, new),
            new_name,
            lambda: new_name in self.queues(),
        )
        self._labels.rename(queue_name, new_name)
        self._tracker.picture.forget()
        self.queues(anew=True)
        return self.get_queue(new_name)

    def delete_queue(self, queue_name: str) -> None:
        """Delete the label of a queue that no issue has, not even a closed one."""
        label = self.label(queue_name, anew=True)
        if count := self.issues_with(queue_name):
            raise QueueNotEmptyError(queue_name, count)
        self._change(
            lambda: self._tracker.delete_label(label),
            queue_name,
            lambda: queue_name not in self.queues(),
        )
        self._tracker.picture.forget()
        self.queues(anew=True)

    def issues_with(self, queue_name: str) -> int:
        """Count the issues with the label of a queue, also closed ones."""
        return self._tracker.issues_with(self.label(queue_name))

    # --- webhooks ---

    def queues_of_delivery(
        self, headers: Mapping[str, str], body: bytes, secret: str, queue_names: Sequence[str]
    ) -> list[str]:
        """Return which of the queues an event of issues, comments or labels may have changed.

        What this process has just done itself is no change. It is told by what was written, not by
        who: the token may be a person's, who works on the board as well.
        """
        delivery = self._deliveries.read(headers, body, secret)
        if delivery is None:
            return []
        picture = self._tracker.picture
        if delivery.issue is not None and picture.is_own(delivery.issue):
            return []
        with self._deliveries.acting(headers):
            if delivery.renames:
                picture.forget()
                self.queues(anew=True)
            else:
                picture.expire()
            found = {self._labels.queue_named_by(label) for label in delivery.labels}
        return [name for name in queue_names if name in found]

    def forget_picture(self) -> None:
        """Have the next poll ask what has changed."""
        self._tracker.picture.expire()

    # --- for the adapters of trackers ---

    def missing_labels(self, queue_names: Sequence[str]) -> list[str]:
        """Remember how the routes call the queues, and return the labels that are not there.

        Raises:
            ConfigurationError: no label can be called so.
        """
        self._labels.call(queue_names)
        found = self.queues(anew=True)
        try:
            return [self._labels.family.label_of(name) for name in queue_names if name not in found]
        except InvalidTaskError as exc:
            raise ConfigurationError(str(exc)) from exc

    def queues(self, *, anew: bool = False) -> dict[str, str]:
        """The label of each queue that has one."""
        try:
            return self._labels.queues(anew=anew)
        except MissingError as exc:
            raise self._tracker.invisible(exc) from exc

    def label(self, queue: str, *, anew: bool = False) -> str:
        """The label of a queue.

        Raises:
            QueueNotFoundError: it has none.
        """
        if anew:
            self.queues(anew=True)
        try:
            return self._labels.label(queue)
        except MissingError as exc:
            raise self._tracker.invisible(exc) from exc

    def queue_of(self, issue: C) -> str | None:
        """The queue of an issue, whether it is open or not."""
        return self._labels.queue_of(issue.labels)

    def ready(self, queue_names: Sequence[str]) -> list[tuple[str, C]]:
        """The open issues of some queues, with the queue of each, queue by queue.

        Raises:
            QueueNotFoundError: one of the queues has no label.
        """
        if not queue_names:
            return []
        for name in queue_names:
            self.label(name)
        by_queue: dict[str, list[C]] = {name: [] for name in queue_names}
        for issue in self._issues():
            if (queue := self.queue_of(issue)) in by_queue:
                by_queue[queue].append(issue)
        return [(queue, issue) for queue, issues in by_queue.items() for issue in issues]

    def place(self, issue: C) -> str:
        """Where an issue is, for a claim: a closed one is in no queue."""
        return (self.queue_of(issue) or NO_QUEUE) if issue.is_open else CLOSED

    def task(self, issue: C, queue: str, comments: Iterable[Comment] = ()) -> Task:
        """An issue as a task of a queue."""
        return issue.task(queue, self._labels.others(issue.labels), comments)

    def whole(self, issue: C) -> Task:
        """An issue as a task with its comments."""
        comments = self._tracker.comments(issue)
        return self.task(issue, self.queue_of(issue) or NO_QUEUE, comments)

    def check_labels(self, labels: Sequence[str] | None) -> None:
        """Refuse labels that are queues.

        Raises:
            InvalidTaskError: one is.
        """
        if queues := self._labels.of_queues(labels or ()):
            raise InvalidTaskError(
                f"The label {queues[0]!r} is a queue's; move the task instead of labelling it."
            )

    def _issues(self) -> list[C]:
        try:
            return self._tracker.picture.cards()
        except MissingError as exc:
            raise self._tracker.invisible(exc) from exc

    def _change(self, change: Callable[[], None], queue: str, is_done: Callable[[], bool]) -> None:
        """Change a label, and look if the answer is lost."""
        try:
            change()
        except AnswerLostError:
            self.queues(anew=True)
            if not is_done():
                raise
        except LabelTakenError as exc:
            raise QueueExistsError(queue) from exc
        except MissingError as exc:
            raise QueueNotFoundError(queue, self.queues(anew=True)) from exc


def missing(wanted: Collection[str], there: Collection[str]) -> list[str]:
    """Those of some names that are not among others; cases do not count."""
    low = {name.lower() for name in there}
    return [name for name in dict.fromkeys(wanted) if name.lower() not in low]
