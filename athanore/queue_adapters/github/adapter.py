"""The eleven methods of `QueueAdapter` on the issues of a GitHub repository, and the claim."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    ConfigurationError,
    InvalidTaskError,
    QueueExistsError,
    QueueNotEmptyError,
    QueueNotFoundError,
)
from athanore.models import BoardIdentity, Queue, Task
from athanore.queue_adapters.github.account import Account
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.issues import NO_QUEUE, Issue
from athanore.queue_adapters.github.listing import LabelNames
from athanore.queue_adapters.github.moves import Moves
from athanore.queue_adapters.github.repository import Repository
from athanore.queue_adapters.github.texts import TEXTS
from athanore.queue_adapters.github.webhook import Deliveries
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError
from athanore.queue_adapters.tracker.labels import Family, Labels

_COLOUR: Final = "0e8a16"


class GitHubAdapter:
    """One repository as a board; made by `GitHubBoard`.

    A poll costs one request, shared with all that ask within 1.5 seconds; nothing of GitHub's limit
    if nothing has changed. The tasks of a queue come oldest issue first: labels have no order.
    """

    def __init__(
        self,
        client: GitHubClient,
        repository: str,
        family: Family,
        *,
        site: str,
        closes: Collection[str],
        assigns: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._repository = Repository(client, repository, now)
        self._labels = Labels(LabelNames(client, self._repository.path).read, family)
        self._account = Account(client, self._repository, assigns=assigns)
        self._deliveries = Deliveries(repository)
        self._site = site
        self._closes = frozenset(closes)
        self._moves = Moves(self._repository, self._labels)

    def close(self) -> None:
        """Close the connections to the server."""
        self._client.close()

    # --- who we are ---

    @property
    def user(self) -> str | None:
        """The token's account, if claims assign it; the first time costs two requests."""
        return self._account.assignee

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the board's token; another token is the agents' own."""
        return self._account.secret_env

    @property
    def secrets(self) -> frozenset[str]:
        """The token, also one that was given in the code."""
        return frozenset({self._client.token})

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check that the repository can be seen, its issues be written, and its labels be there.

        Nothing is changed: the check of the token's permission is a write that GitHub refuses for
        its contents if it does not refuse it for the token.

        Raises:
            BoardAccessError: the token, or its account, may not see or change the issues.
            ConfigurationError: a label is missing.
        """
        self._account.check()
        self._labels.call(queue_names)
        found = self._queues(anew=True)
        family = self._labels.family
        missing: list[str] = []
        for queue in queue_names:
            if queue in found:
                continue
            try:
                missing.append(family.label_of(queue))
            except InvalidTaskError as exc:
                raise ConfigurationError(str(exc)) from exc
        if missing:
            name = self._repository.name
            host = urlsplit(self._site).hostname
            place = name if host == "github.com" else f"{host}/{name}"
            commands = " && ".join(f"gh label create {shlex.quote(m)} -R {place}" for m in missing)
            noun = "label" if len(missing) == 1 else "labels"
            raise ConfigurationError(
                f"The repository {name!r} has no {noun} {', '.join(map(repr, missing))}; make "
                f"the {noun} at {self._site}/{name}/labels, or with: {commands}"
            )
        self._account.assignee  # noqa: B018  read here, and no more where somebody waits

    def board_identity(self) -> BoardIdentity:
        """Tell the board by its repository."""
        place = f"{self._site}/{self._repository.name}"
        host = urlsplit(self._site).hostname
        return BoardIdentity((f"github:{host}/{self._repository.name}".lower(),), place)

    # --- tasks ---

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the open issues of the queues, with checklists and without comments."""
        if not queue_names:
            return []
        for name in queue_names:
            self._label(name)
        by_queue: dict[str, list[Task]] = {name: [] for name in queue_names}
        for issue in self._issues():
            queue = self._queue_of(issue)
            if queue in by_queue:
                by_queue[queue].append(issue.task(queue, self._labels.others(issue.labels)))
        return [task for tasks in by_queue.values() for task in tasks]

    def get_task(self, task_id: str) -> Task:
        """Return one issue whole, as it is now; also one that is closed, or in no queue."""
        return self._whole(self._repository.issue(task_id))

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Put an issue's label of the board in place of another; its other labels stay.

        The new label comes before the old one goes, so that the issue is never without. An issue
        that was closed by a move is opened by the next one; what others have closed stays closed.
        """
        label = self._label(target_queue)
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

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment; the account of the token signs it.

        Raises:
            AnswerLostError: the answer was lost twice, and the comment was not found (yet).
        """
        if not text.strip():
            raise InvalidTaskError(f"A comment on task {task_id!r} must not be empty.")
        self._repository.comment(task_id, text)

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
            _check_name(name)
        if queues := self._labels.of_queues(labels or ()):
            raise InvalidTaskError(
                f"The label {queues[0]!r} is a queue's; move the task instead of labelling it."
            )
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
            issue = self._repository.add_labels(issue, _missing(labels, has))
            for label in _missing(has, labels):
                issue = self._repository.drop_label(issue, label)
        if assignees is not None:
            issue = self._repository.assign(issue, _missing(issue.assignees, assignees), off=True)
            issue = self._repository.assign(issue, _missing(assignees, issue.assignees))
        now = self._repository.issue(task_id)
        self._repository.picture.wrote(now)
        return self._whole(now)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Open an issue with the queue's label."""
        _check_name(name)
        label = self._label(queue_name)
        issue = self._repository.create(TEXTS.title(name), description, label)
        if not issue.has_label(label):
            raise BoardAccessError(
                f"GitHub opened the issue {issue.id} without the label {label!r}, because the "
                "token's account may not label issues; give it at least the role Triage in "
                f"{self._repository.name!r}, and label the issue."
            )
        self._repository.picture.wrote(issue)
        return issue.task(queue_name, self._labels.others(issue.labels))

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Claim an issue; see `moves.Moves.claim` for what is promised."""
        labels = self._label(source_queue), self._label(target_queue)
        claimed, comments = self._moves.claim(task_id, source_queue, *labels, assignee)
        return claimed.task(target_queue, self._labels.others(claimed.labels), comments)

    # --- queues ---

    def list_queues(self) -> list[Queue]:
        """Return the queues that have a label, and how many open issues are in each."""
        counts = Counter(map(self._queue_of, self._issues()))
        return [Queue(name, counts[name]) for name in self._queues()]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one queue."""
        self._label(queue_name)
        return next(queue for queue in self.list_queues() if queue.name == queue_name)

    def create_queue(self, queue_name: str) -> Queue:
        """Make the label of a queue."""
        label = self._labels.family.label_of(queue_name)
        values = {"name": label, "color": _COLOUR, "description": "A queue of Athanore"}
        if queue_name in self._queues(anew=True):
            raise QueueExistsError(queue_name)
        try:
            self._client.write("POST", f"{self._repository.path}/labels", values)
        except RefusedValueError as exc:
            if "already_exists" in exc.codes:
                raise QueueExistsError(queue_name) from exc
            raise
        except AnswerLostError:
            if queue_name not in self._queues(anew=True):
                raise
        self._queues(anew=True)
        return self.get_queue(queue_name)

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Rename the label of a queue; its issues keep it."""
        old = self._label(queue_name, anew=True)
        if queue_name == new_name:
            return self.get_queue(queue_name)
        new = self._labels.family.label_of(new_name)
        if new_name in self._queues() or self._labels.family.named is not None:
            raise QueueExistsError(new_name)
        self._change_label("PATCH", old, {"new_name": new}, lambda: new_name in self._queues())
        self._labels.rename(queue_name, new_name)
        self._repository.picture.forget()
        self._queues(anew=True)
        return self.get_queue(new_name)

    def delete_queue(self, queue_name: str) -> None:
        """Delete the label of a queue that no issue has, not even a closed one."""
        label = self._label(queue_name, anew=True)
        states = {"state": "all", "labels": label}
        pages = self._client.pages(f"{self._repository.path}/issues", states)
        if count := sum(map(len, pages)):
            raise QueueNotEmptyError(queue_name, count)
        self._change_label("DELETE", label, None, lambda: queue_name not in self._queues())
        self._repository.picture.forget()
        self._queues(anew=True)

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
        picture = self._repository.picture
        if delivery.issue is not None and picture.is_own(delivery.issue):
            return []
        if delivery.renames:
            picture.forget()
            self._queues(anew=True)
        else:
            picture.expire()
        found = {self._labels.queue_named_by(label) for label in delivery.labels}
        return [name for name in queue_names if name in found]

    # --- helpers ---

    def _change_label(
        self, method: str, label: str, values: Json | None, is_done: Callable[[], bool]
    ) -> None:
        path = f"{self._repository.path}/labels/{quote(label, safe='')}"
        try:
            self._client.write(method, path, values)
        except AnswerLostError:
            self._queues(anew=True)
            if not is_done():
                raise
        except RefusedValueError as exc:
            if "already_exists" in exc.codes:
                raise QueueExistsError(str((values or {}).get("new_name"))) from exc
            raise
        except MissingError as exc:
            raise QueueNotFoundError(label, self._queues(anew=True)) from exc

    def _queues(self, *, anew: bool = False) -> dict[str, str]:
        try:
            return self._labels.queues(anew=anew)
        except MissingError as exc:
            raise self._repository.invisible(exc) from exc

    def _label(self, queue: str, *, anew: bool = False) -> str:
        """The label of a queue.

        Raises:
            QueueNotFoundError: it has none.
        """
        if anew:
            self._queues(anew=True)
        try:
            return self._labels.label(queue)
        except MissingError as exc:
            raise self._repository.invisible(exc) from exc

    def _issues(self) -> list[Issue]:
        try:
            return sorted(self._repository.picture.cards(), key=lambda issue: issue.number)
        except MissingError as exc:
            raise self._repository.invisible(exc) from exc

    def _queue_of(self, issue: Issue) -> str | None:
        return self._labels.queue_of(issue.labels)

    def _whole(self, issue: Issue) -> Task:
        comments = self._repository.comments(issue)
        queue = self._queue_of(issue) or NO_QUEUE
        return issue.task(queue, self._labels.others(issue.labels), comments)


def _check_name(name: str) -> None:
    if not name.strip():
        raise InvalidTaskError(f"A name must not be empty; it was {name!r}.")


def _missing(wanted: Collection[str], there: Collection[str]) -> list[str]:
    """Those of some names that are not among others; GitHub does not tell cases apart."""
    low = {name.lower() for name in there}
    return [name for name in dict.fromkeys(wanted) if name.lower() not in low]
