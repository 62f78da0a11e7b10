"""Labels as queues: which labels are the board's, and which queue an issue with some is in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from athanore.errors import ConfigurationError, InvalidTaskError, QueueNotFoundError
from athanore.http_client.cache import Cache

MAX_AGE: Final = timedelta(minutes=1)
"""How long the list of labels is believed; a queue that is not in it has it read anew."""


@dataclass(frozen=True, slots=True)
class Family:
    """The labels that are queues: those with a prefix, or named ones, or all that are listed.

    Cases do not count in the names of labels: GitHub does not tell them apart, and people neither.

    Attributes:
        board: the class that a user writes (`GitHubBoard`), for messages.
        longest: characters that a label may have.
        prefix: what the labels begin with; "" where that does not tell them.
        named: the label of each queue; None where a prefix or a list tells them.
    """

    board: str
    longest: int
    prefix: str = ""
    named: Mapping[str, str] | None = None

    @property
    def is_listed(self) -> bool:
        """Whether exactly those labels are queues that the tracker lists as such."""
        return not self.prefix and self.named is None

    @classmethod
    def of(
        cls, board: str, longest: int, prefix: str, queues: Mapping[str, str] | None = None
    ) -> Family:
        """The family that a user has described.

        Raises:
            ConfigurationError: the labels could not be told from each other, or from all others.
        """
        if queues is None:
            if not prefix.strip() or "," in prefix or len(prefix) >= longest:
                raise ConfigurationError(
                    f"{board}: prefix={prefix!r} must be the beginning of the board's labels, "
                    f'such as "agent:", without a comma and shorter than {longest} characters.'
                )
            return cls(board, longest, prefix)
        labels = {label.strip().lower() for label in queues.values()}
        if not queues or "" in labels or len(labels) < len(queues):
            raise ConfigurationError(
                f"{board}: queues={dict(queues)!r} must give each queue a label of its own, "
                'such as {"Todo": "ready"}.'
            )
        named = {queue: label.strip() for queue, label in queues.items()}
        return cls(board, longest, named=named)

    def queue_of(self, label: str) -> str | None:
        """The queue that a label means; None if it is no queue's."""
        if self.named is not None:
            low = label.lower()
            return next((q for q, named in self.named.items() if named.lower() == low), None)
        if not label.lower().startswith(self.prefix.lower()):
            return None
        return label[len(self.prefix) :].strip() or None

    def label_of(self, queue: str) -> str:
        """The label that a queue has, or would have.

        Raises:
            InvalidTaskError: no label can be called so.
        """
        if self.named is not None:
            if queue in self.named:
                return self.named[queue]
            raise InvalidTaskError(
                f"{queue!r} is no queue of this board, whose queues are named in the code; add it "
                f"to queues= of {self.board}."
            )
        label = self.prefix + queue
        if not queue.strip() or queue != queue.strip() or len(label) > self.longest:
            raise InvalidTaskError(
                f"A queue cannot be called {queue!r}: its label {label!r} must have at most "
                f"{self.longest} characters, and the queue no blanks around its name."
            )
        if "," in queue or any(ord(character) < 32 for character in queue):
            raise InvalidTaskError(
                f"A queue cannot be called {queue!r}: a label has no commas and no line breaks."
            )
        return label


class Labels:
    """The labels that are queues; read when they are needed, and kept a minute.

    Args:
        read: the labels that there are, in the order in which they were made, or are listed.
    """

    def __init__(self, read: Callable[[], Iterable[str]], family: Family) -> None:
        self.family = family
        self._read = read
        self._cache = Cache(self._load, MAX_AGE)
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._rank: list[str] = []
        self._made: list[str] = []
        self._listed: frozenset[str] = frozenset()

    def queues(self, *, anew: bool = False) -> dict[str, str]:
        """The label of each queue that has one, in the order in which the labels were made.

        Queues that are named in the code come in the order of the code.
        """
        if anew:
            self._cache.forget("")
        return self._cache.get("")

    def label(self, queue: str) -> str:
        """The label of a queue.

        Raises:
            QueueNotFoundError: there is none.
        """
        found = self.queues()
        if queue not in found:
            found = self.queues(anew=True)
        if queue not in found:
            raise QueueNotFoundError(queue, found)
        return found[queue]

    def call(self, queues: Sequence[str]) -> None:
        """Remember how the routes call the queues, and in which order tasks go through them."""
        with self._lock:
            for queue in queues:
                self._names.setdefault(queue.lower(), queue)
                if queue not in self._rank:
                    self._rank.append(queue)
        self._cache.forget("")

    def rename(self, queue: str, new_name: str) -> None:
        """Forget how a queue was called."""
        with self._lock:
            self._names.pop(queue.lower(), None)
            self._names.pop(new_name.lower(), None)

    def queue_of(self, labels: Iterable[str]) -> str | None:
        """The queue of an issue with these labels; of several the one that tasks go through first.

        That order is the routes'; of queues that they do not name, that in which they were made.

        An issue has two for a moment while it is moved, and for longer if a move was broken off:
        the earlier one counts, so that the move is made once more.
        """
        found = [queue for label in labels if (queue := self.queue_named_by(label))]
        if len(found) < 2:
            return found[0] if found else None
        order = [*self._rank, *self._made]
        return min(found, key=lambda q: order.index(q) if q in order else len(order), default=None)

    def queue_named_by(self, label: str) -> str | None:
        """The queue that a label means, as the routes call it."""
        queue = self.family.queue_of(label)
        if queue is not None and self.family.is_listed:
            self.queues()
            if label.lower() not in self._listed:
                return None
        return None if queue is None else self._names.get(queue.lower(), queue)

    def of_queues(self, labels: Iterable[str]) -> list[str]:
        """Those of some labels that are queues."""
        return [label for label in labels if self.queue_named_by(label) is not None]

    def others(self, labels: Iterable[str]) -> list[str]:
        """Those of some labels that are no queues."""
        return [label for label in labels if self.queue_named_by(label) is None]

    def _load(self, _key: str) -> dict[str, str]:
        """Read the labels; those of two queues whose names differ in nothing are one."""
        by_queue: dict[str, str] = {}
        for label in self._read():
            if (queue := self.family.queue_of(label)) is not None:
                by_queue.setdefault(self._names.get(queue.lower(), queue), label)
        if (named := self.family.named) is not None:
            by_queue = {queue: by_queue[queue] for queue in named if queue in by_queue}
        self._made = list(by_queue)
        self._listed = frozenset(label.lower() for label in by_queue.values())
        return by_queue
