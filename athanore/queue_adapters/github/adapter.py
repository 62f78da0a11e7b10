"""The eleven methods of `QueueAdapter` on the issues of a GitHub repository, and the claim."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import override
from urllib.parse import urlsplit

from athanore.errors import BoardAccessError, ConfigurationError
from athanore.models import BoardIdentity, Quota, Task
from athanore.queue_adapters.github.access.account import Account
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.issues import Issue
from athanore.queue_adapters.github.listing import LabelNames
from athanore.queue_adapters.github.moves import Moves
from athanore.queue_adapters.github.relations import Reference, Related, Relations
from athanore.queue_adapters.github.repository import Repository
from athanore.queue_adapters.github.texts import TEXTS
from athanore.queue_adapters.github.webhook import Deliveries
from athanore.queue_adapters.tracker.answers import Json
from athanore.queue_adapters.tracker.checks import check_name
from athanore.queue_adapters.tracker.label_board import LabelBoard, missing
from athanore.queue_adapters.tracker.labels import Family, Labels


class GitHubAdapter(LabelBoard[Issue]):
    """One repository as a board; made by `GitHubBoard`.

    A poll costs one request, shared with all that ask within 1.5 seconds; nothing of GitHub's limit
    if nothing has changed. The tasks of a queue come oldest issue first: labels have no order.

    Args:
        called: the ids of issues on the board; by default their numbers in this repository.
        share: how many repositories share what is left of the account's requests.
    """

    def __init__(
        self,
        client: GitHubClient,
        repository: str,
        family: Family,
        relations: Relations,
        *,
        site: str,
        closes: Collection[str],
        assigns: bool,
        now: Callable[[], float] = time.monotonic,
        called: Callable[[Reference], str | None] | None = None,
        share: int = 1,
    ) -> None:
        self._client = client
        self._repository = Repository(client, repository, now, share)
        self._called = called or self._own
        self._relations = relations
        labels = Labels(LabelNames(client, self._repository.path).read, family)
        super().__init__(self._repository, labels, Deliveries(repository))
        self._account = Account(client, self._repository, assigns=assigns)
        self._site = site
        self._closes = frozenset(closes)
        self._moves = Moves(self._repository, relations, labels, self.place)

    def close(self) -> None:
        """Close the connections to the server."""
        self._client.close()
        self._relations.close()

    # --- who we are ---

    def quotas(self) -> Sequence[Quota]:
        """What is left of the 5,000 requests an hour; an unchanged board counts as none."""
        return [*self._client.quotas.known(), *self._relations.quotas.known()]

    @property
    def vouches_for_authors(self) -> bool:
        """GitHub says of each author whether they belong to the repository."""
        return True

    @property
    def user(self) -> str | None:
        """The token's account, if claims assign it; the first time costs two requests."""
        return self._account.assignee

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the board's token; another token is the agents' own."""
        return self._client.credential.secret_env

    @property
    def secrets(self) -> frozenset[str]:
        """The token, also one that was given in the code, or the app's key."""
        return self._client.credential.secrets

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check that the repository can be seen, its issues be written, and its labels be there.

        Nothing is changed: the check of the token's permission is a write that GitHub refuses for
        its contents if it does not refuse it for the token.

        Raises:
            BoardAccessError: the token, or its account, may not see or change the issues.
            ConfigurationError: a label is missing.
        """
        self._account.check()
        if absent := self.missing_labels(queue_names):
            name = self._repository.name
            host = urlsplit(self._site).hostname
            place = name if host == "github.com" else f"{host}/{name}"
            commands = " && ".join(f"gh label create {shlex.quote(m)} -R {place}" for m in absent)
            noun = "label" if len(absent) == 1 else "labels"
            raise ConfigurationError(
                f"The repository {name!r} has no {noun} {', '.join(map(repr, absent))}; make "
                f"the {noun} at {self._site}/{name}/labels, or with: {commands}"
            )
        self._account.assignee  # noqa: B018  read here, and no more where somebody waits

    def board_identity(self) -> BoardIdentity:
        """Tell the board by its repository."""
        place = f"{self._site}/{self._repository.name}"
        host = urlsplit(self._site).hostname
        return BoardIdentity((f"github:{host}/{self._repository.name}".lower(),), place)

    # --- tasks ---

    @override
    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the open issues of the queues, with what blocks them, and without comments."""
        return self.tasks_of(self.ready(queue_names))

    def tasks_of(self, ready: Sequence[tuple[str, Issue]]) -> list[Task]:
        """Issues that are in queues as tasks, with what blocks them."""
        blockers = self._relations.blockers(issue for _, issue in ready)
        return [
            replace(self.task(issue, queue), blocked_by=self._ids(blockers.get(issue.node_id, ())))
            for queue, issue in ready
        ]

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Put an issue's label of the board in place of another; its other labels stay.

        The new label comes before the old one goes, so that the issue is never without. An issue
        that was closed by a move is opened by the next one; what others have closed stays closed.
        """
        label = self.label(target_queue)
        issue = self._repository.issue(task_id)
        moved = self._moves.swapped(issue, label)
        is_done = target_queue in self._closes
        if is_done and moved.is_open:
            fields: Json = {"state": "closed", "state_reason": "completed"}
            moved = self._repository.set_fields(moved, fields)
        elif (
            not moved.is_open
            and self._labels.queue_of(issue.labels) in self._closes
            and not is_done
        ):
            moved = self._repository.set_fields(moved, {"state": "open"})
        if moved is not issue:
            self._repository.picture.wrote(moved)

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
        if name is not None:
            check_name(name)
        self.check_labels(labels)
        issue = self._repository.issue(task_id)
        fields: Json = {}
        if name is not None:
            fields["title"] = TEXTS.title(name)
        if description is not None:
            fields["body"] = TEXTS.body(description)
        if fields:
            issue = self._repository.set_fields(issue, fields)
        if labels is not None:
            has = self._labels.others(issue.labels)
            issue = self._repository.add_labels(issue, missing(labels, has))
            for label in missing(has, labels):
                issue = self._repository.drop_label(issue, label)
        if assignees is not None:
            issue = self._repository.assign(issue, missing(issue.assignees, assignees), off=True)
            issue = self._repository.assign(issue, missing(assignees, issue.assignees))
        now = self._repository.issue(task_id)
        self._repository.picture.wrote(now)
        return self.whole(now)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Open an issue with the queue's label."""
        check_name(name)
        label = self.label(queue_name)
        issue = self._repository.create(TEXTS.title(name), description, label)
        if not issue.has_label(label):
            raise BoardAccessError(
                f"GitHub opened the issue {issue.id} without the label {label!r}, because the "
                "token's account may not label issues; give it at least the role Triage in "
                f"{self._repository.name!r}, and label the issue."
            )
        self._repository.picture.wrote(issue)
        return self.task(issue, queue_name)

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Claim an issue; see `moves.Moves.claim` for what is promised."""
        labels = self.label(source_queue), self.label(target_queue)
        claimed, comments, related = self._moves.claim(task_id, source_queue, *labels, assignee)
        return self._related(self.task(claimed, target_queue, comments), related)

    # --- helpers ---

    @override
    def whole(self, issue: Issue) -> Task:
        """An issue as a task with its comments, its sub-issues and what blocks it."""
        return self._related(super().whole(issue), self._relations.of(issue))

    def _related(self, task: Task, related: Related) -> Task:
        tasks = (*task.tasks, *related.parts)
        return replace(task, tasks=tasks, blocked_by=self._ids(related.blockers))

    def _ids(self, references: Sequence[Reference]) -> tuple[str, ...]:
        """The tasks of this board that issues are; those of other repositories are none."""
        return tuple(id_ for one in references if (id_ := self._called(one)) is not None)

    def _own(self, reference: Reference) -> str | None:
        is_own = reference.repository.lower() == self._repository.name.lower()
        return str(reference.number) if is_own else None
