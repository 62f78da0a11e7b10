"""Several repositories of GitHub as one board: each has its own labels, all the same queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from athanore.errors import (
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.models import BoardIdentity, Queue, Quota, Task
from athanore.queue_adapters.github.adapter import GitHubAdapter
from athanore.queue_adapters.github.issues import Ids


class GitHubRepositories:
    """A board over several repositories; made by `GitHubBoard([...])`.

    A task's id names its repository. What is done with a task is done by the adapter of its
    repository; they share one client, so that there is one limit, and one budget of requests.

    Args:
        parts: the adapters of the repositories, by `owner/name`; new tasks are opened in the first.
    """

    def __init__(self, parts: Mapping[str, GitHubAdapter], ids: Ids) -> None:
        self._parts = dict(parts)
        self._by_name = {name.lower(): (name, part) for name, part in parts.items()}
        self._ids = ids

    def close(self) -> None:
        """Close the connections to the server."""
        for part in self._parts.values():
            part.close()

    # --- who we are ---

    @property
    def _first(self) -> GitHubAdapter:
        return next(iter(self._parts.values()))

    def quotas(self) -> Sequence[Quota]:
        """What is left of the account's requests, which all repositories share."""
        return self._first.quotas()

    @property
    def vouches_for_authors(self) -> bool:
        """GitHub says of each author whether they belong to the repository."""
        return True

    @property
    def user(self) -> str | None:
        """The token's account, if claims assign it in one of the repositories at least."""
        return next((user for part in self._parts.values() if (user := part.user)), None)

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the board's token; another token is the agents' own."""
        return self._first.secret_env

    @property
    def secrets(self) -> frozenset[str]:
        """The token, also one that was given in the code, or the app's key."""
        return self._first.secrets

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check each repository; see `GitHubAdapter.prepare`."""
        for part in self._parts.values():
            part.prepare(queue_names)

    def board_identity(self) -> BoardIdentity:
        """Tell the board by its repositories: one that has another besides is the same."""
        known = [part.board_identity() for part in self._parts.values()]
        marks = tuple(mark for one in known for mark in one.marks)
        return BoardIdentity(marks, ", ".join(one.place for one in known))

    def id_of(self, text: str) -> str:
        """The id of the issue that people call `website#12` or `octo-org/website#12`."""
        return self._ids.of(*self._ids.read(text)) if "#" in text else text

    # --- tasks ---

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the open issues of the queues, of all repositories the oldest first."""
        for name in queue_names:
            self._with(name)
        found: list[tuple[int, str, int, Task]] = []
        for name, part in self._parts.items():
            ready = part.ready([queue for queue in queue_names if queue in part.queues()])
            for (queue, issue), task in zip(ready, part.tasks_of(ready), strict=True):
                place = queue_names.index(queue)
                named = self._named(name, task)
                found.append((place, issue.created_at, issue.number, named))
        found.sort(key=lambda row: row[:3])
        return [task for *_, task in found]

    def get_task(self, task_id: str) -> Task:
        """Return one issue whole, as it is now."""
        with self._part(task_id) as (name, part, number):
            return self._named(name, part.get_task(number))

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Put an issue's label of the board in place of another."""
        with self._part(task_id) as (_, part, number):
            part.move_task(number, target_queue)

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment; the account of the token signs it."""
        with self._part(task_id) as (_, part, number):
            part.add_comment(number, text)

    def update_task(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Task:
        """Set the given fields. A label that does not exist is made; a queue's is refused."""
        with self._part(task_id) as (repository, part, number):
            task = part.update_task(
                number, assignees=assignees, name=name, description=description, labels=labels
            )
            return self._named(repository, task)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Open an issue with the queue's label, in the first repository."""
        task = self._first.create_task(queue_name, name, description)
        return self._named(next(iter(self._parts)), task)

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Claim an issue in its repository; it is assigned where the account can be."""
        with self._part(task_id) as (name, part, number):
            mine = assignee is not None and assignee == self.user
            task = part.claim_task(
                number,
                source_queue=source_queue,
                target_queue=target_queue,
                assignee=part.user if mine else assignee,
            )
            return self._named(name, task)

    # --- queues ---

    def list_queues(self) -> list[Queue]:
        """Return the queues of all repositories, and how many open issues are in each."""
        counts = Counter[str]()
        for part in self._parts.values():
            for queue in part.list_queues():
                counts[queue.name] += queue.task_count
        return [Queue(name, count) for name, count in counts.items()]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one queue."""
        self._with(queue_name)
        return next(queue for queue in self.list_queues() if queue.name == queue_name)

    def create_queue(self, queue_name: str) -> Queue:
        """Make the label of a queue in each repository that has none."""
        lacking = [p for p in self._parts.values() if queue_name not in p.queues(anew=True)]
        if not lacking:
            raise QueueExistsError(queue_name)
        for part in lacking:
            part.create_queue(queue_name)
        return self.get_queue(queue_name)

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Rename the label of a queue in each repository; its issues keep it."""
        having = self._with(queue_name)
        if queue_name != new_name and any(new_name in part.queues() for part in having):
            raise QueueExistsError(new_name)
        for part in having:
            part.update_queue(queue_name, new_name=new_name)
        return self.get_queue(new_name)

    def delete_queue(self, queue_name: str) -> None:
        """Delete the label of a queue that no issue of any repository has."""
        having = self._with(queue_name)
        if count := sum(part.issues_with(queue_name) for part in having):
            raise QueueNotEmptyError(queue_name, count)
        for part in having:
            part.delete_queue(queue_name)

    # --- webhooks ---

    def queues_of_delivery(
        self, headers: Mapping[str, str], body: bytes, secret: str, queue_names: Sequence[str]
    ) -> list[str]:
        """Return which of the queues an event of one of the repositories may have changed."""
        told = [
            part.queues_of_delivery(headers, body, secret, queue_names)
            for part in self._parts.values()
        ]
        return [name for name in queue_names if any(name in queues for queues in told)]

    def forget_picture(self) -> None:
        """Have the next poll ask what has changed."""
        for part in self._parts.values():
            part.forget_picture()

    # --- helpers ---

    def _with(self, queue_name: str) -> list[GitHubAdapter]:
        """The repositories that have a queue's label.

        Raises:
            QueueNotFoundError: none has it.
        """
        parts = list(self._parts.values())
        for anew in (False, True):
            having = [part for part in parts if queue_name in part.queues(anew=anew)]
            if having:
                return having
        there = dict.fromkeys(queue for part in parts for queue in part.queues())
        raise QueueNotFoundError(queue_name, there)

    @contextmanager
    def _part(self, task_id: str) -> Generator[tuple[str, GitHubAdapter, str]]:
        """The repository of a task, and its number there; errors name the task by its id.

        Raises:
            TaskNotFoundError: it is none of the board's.
        """
        repository, number = self._ids.read(task_id)
        if (known := self._by_name.get(repository.lower())) is None:
            raise TaskNotFoundError(task_id)
        try:
            yield (*known, str(number))
        except TaskNotFoundError as exc:
            raise TaskNotFoundError(task_id) from exc
        except TaskMovedError as exc:
            raise TaskMovedError(task_id, expected=exc.expected, actual=exc.actual) from exc

    def _named(self, repository: str, task: Task) -> Task:
        return replace(task, id=self._ids.of(repository, int(task.id)))
