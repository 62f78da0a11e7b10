"""The eleven methods of `QueueAdapter` on a project of GitHub, and the claim."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from athanore.errors import (
    AnswerLostError,
    BoardAccessError,
    BoardError,
    ConfigurationError,
    NotSupportedError,
    TaskMovedError,
    TaskNotFoundError,
)
from athanore.http_client.cache import Cache
from athanore.models import BoardIdentity, Comment, Quota, Task
from athanore.queue_adapters.github.access.account import Account
from athanore.queue_adapters.github.client import GitHubClient
from athanore.queue_adapters.github.issues import Issue
from athanore.queue_adapters.github.projects.project import Item, Project
from athanore.queue_adapters.github.projects.queues import ProjectQueues
from athanore.queue_adapters.github.repository import Repository
from athanore.queue_adapters.github.texts import TEXTS
from athanore.queue_adapters.lost_answers import still_lost
from athanore.queue_adapters.tracker.answers import Json, MissingError, RefusedValueError
from athanore.queue_adapters.tracker.checks import check_comment, check_name
from athanore.queue_adapters.tracker.label_board import CLOSED, missing
from athanore.queue_adapters.tracker.picture import Picture

logger = logging.getLogger(__name__)


class GitHubProjectAdapter(ProjectQueues):
    """One project as a board; made by `GitHubProjectBoard`.

    A poll costs one request for each 100 open issues, shared with all that ask within 1.5 seconds.
    The project says where an issue is, its repository has what is in it.
    """

    def __init__(
        self,
        client: GitHubClient,
        project: Project,
        *,
        repository: str | None,
        closes: Collection[str],
        assigns: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        picture = Picture[Item](project, now, spacing=project.quotas.between_reads)
        super().__init__(project, picture)
        self._client = client
        self._home = repository
        self._closes = frozenset(closes)
        self._assigns = assigns
        self._repositories: dict[str, Repository] = {}
        self._visited: set[str] = set()
        self._account = (
            Account(client, self._of(repository), assigns=assigns) if repository else None
        )
        self._login = Cache(self._read_login, timedelta(days=365))
        self._claims = threading.Lock()

    def close(self) -> None:
        """Close the connections to the server."""
        self._client.close()
        self._project.close()

    # --- who we are ---

    def quotas(self) -> Sequence[Quota]:
        """What is left of the points of GraphQL, and of the requests of REST, an hour."""
        return [*self._project.quotas.known(), *self._client.quotas.known()]

    @property
    def vouches_for_authors(self) -> bool:
        """GitHub says of each author whether they belong to the repository."""
        return True

    @property
    def user(self) -> str | None:
        """The token's account, if claims assign it."""
        if self._account is not None:
            return self._account.assignee
        return self._login.get("") if self._assigns else None

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the board's token; another token is the agents' own."""
        return self._client.credential.secret_env

    @property
    def secrets(self) -> frozenset[str]:
        """The token, also one that was given in the code, or the app's key."""
        return self._client.credential.secrets

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check that project and repository can be seen and written, and columns are there.

        Raises:
            BoardAccessError: the token, or its account, may not see or change them.
            ConfigurationError: a column is missing.
        """
        wanted = {"issues": "write", "organization_projects": "write"}
        self._client.credential.check(wanted)
        columns = self._project.columns(anew=True)
        if not columns.may_write:
            raise BoardAccessError(
                f"The token's account may read the project at {columns.url}, and not change it; "
                "give it the role Write in the project, and the token the organization permission "
                "Projects: read and write (a classic token: the scope project)."
            )
        if self._account is not None:
            self._account.check()
        absent = [name for name in queue_names if name not in columns.options]
        if absent:
            there = ", ".join(map(repr, columns.options)) or "none"
            raise ConfigurationError(
                f"The project at {columns.url} has no {self._project.field} "
                f"{', '.join(map(repr, absent))}; add it as a column in the project, or name "
                f"others in the routes. There are: {there}."
            )

    def board_identity(self) -> BoardIdentity:
        """Tell the board by the project's id."""
        columns = self._project.columns()
        return BoardIdentity((f"github-project:{columns.id}",), columns.url)

    def id_of(self, text: str) -> str:
        """The id of the issue that people call `website#12` or `octo-org/website#12`."""
        if "#" not in text:
            return text
        repository, number = self._project.ids.read(text)
        return self._project.ids.of(repository, number)

    # --- tasks ---

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the open issues of the columns, with checklists and without comments."""
        if not queue_names:
            return []
        options = {self._project.option(name): name for name in queue_names}
        by_option: dict[str, list[Task]] = {option: [] for option in options}
        for item in self._picture.cards():
            if item.option in by_option:
                by_option[item.option].append(_task(item, options[item.option]))
        return [task for tasks in by_option.values() for task in tasks]

    def get_task(self, task_id: str) -> Task:
        """Return one issue whole, as it is now; also one that is closed, or in no column."""
        item = self._item(task_id)
        return _task(item, self._column(item), self._comments(item))

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Put an issue's card at the end of another column.

        An issue that was closed by a move is opened by the next one; what others have closed stays
        closed. An issue that has no card in the project gets one.
        """
        item = self._item(task_id)
        moved = self._put(item, target_queue)
        is_done = target_queue in self._closes
        state: Json | None = None
        if is_done and item.issue.is_open:
            state = {"state": "closed", "state_reason": "completed"}
        elif not is_done and not item.issue.is_open and self._column(item) in self._closes:
            state = {"state": "open"}
        if state is not None:
            issue = self._of(item.repository).set_fields(item.issue, state)
            moved = replace(moved, issue=issue)
        if moved is not item:
            self._picture.wrote(moved)

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment; the account of the token signs it.

        Raises:
            AnswerLostError: the answer was lost twice, and the comment was not found (yet).
        """
        check_comment(task_id, text)
        repository, number = self._project.ids.read(task_id)
        with _about(task_id):
            self._of(repository).comment(str(number), text)

    def update_task(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Task:
        """Set the given fields of the issue. A label that does not exist is made."""
        if name is not None:
            check_name(name)
        item = self._item(task_id)
        repository, issue = self._of(item.repository), item.issue
        fields: Json = {}
        if name is not None:
            fields["title"] = TEXTS.title(name)
        if description is not None:
            fields["body"] = TEXTS.body(description)
        with _about(task_id):
            if fields:
                issue = repository.set_fields(issue, fields)
            if labels is not None:
                has = list(issue.labels)
                issue = repository.add_labels(issue, missing(labels, has))
                for label in missing(has, labels):
                    issue = repository.drop_label(issue, label)
            if assignees is not None:
                off = missing(issue.assignees, assignees)
                issue = repository.assign(issue, off, off=True)
                issue = repository.assign(issue, missing(assignees, issue.assignees))
        now = self._item(task_id)
        self._picture.wrote(now)
        return _task(now, self._column(now), self._comments(now))

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Open an issue in the board's repository, and put it at the end of a column."""
        check_name(name)
        self._project.option(queue_name)
        if self._home is None:
            raise NotSupportedError(
                "Issues can be opened in the repository only that the board is told: "
                'GitHubProjectBoard(..., repository="octo-org/website").'
            )
        home = self._home
        place: Callable[[Issue], Item] = lambda issue: self._put(  # noqa: E731
            self._project.item(home, issue.number), queue_name
        )
        title = TEXTS.title(name)
        item = self._of(home).create_for(queue_name, title, description, [], place)
        self._picture.wrote(item)
        return _task(item, queue_name)

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Check that an issue is in its source column, move its card, and assign it.

        A project changes nothing on a condition: of claims of this process exactly one wins, and of
        processes that know nothing of each other both may, within some tenths of a second.
        """
        self._project.option(target_queue)
        with self._claims:
            item = self._item(task_id)
            actual = self._column(item) if item.issue.is_open else CLOSED
            if actual != source_queue:
                raise TaskMovedError(task_id, expected=source_queue, actual=actual)
            comments = self._comments(item)  # after the writes nothing may fail
            claimed = self._put(item, target_queue)
            self._picture.wrote(claimed)
        if assignee and assignee.lower() not in (a.lower() for a in item.issue.assignees):
            try:
                issue = self._of(item.repository).assign(item.issue, [assignee])
                claimed = replace(claimed, issue=issue)
                self._picture.wrote(claimed)
            except BoardError as exc:
                logger.warning(
                    "Task %r is claimed; %r was not assigned: %s",
                    task_id,
                    assignee,
                    exc,
                    extra={"action": "assignee_refused"},
                )
        return _task(claimed, target_queue, comments)

    # --- helpers ---

    def _read_login(self, _key: str) -> str | None:
        if self._client.credential.is_app:
            return None
        try:
            return str(self._client.get("user")["login"])
        except (BoardAccessError, MissingError):
            return None  # an app's installation is no user

    def _of(self, repository: str) -> Repository:
        return self._repositories.setdefault(repository, Repository(self._client, repository))

    def _item(self, task_id: str) -> Item:
        repository, number = self._project.ids.read(task_id)
        try:
            item = self._project.item(repository, number)
        except MissingError as exc:
            self._check_visible(repository)
            raise TaskNotFoundError(task_id) from exc
        if item.card is None:  # also where the token does not see the project any more
            self._project.columns(anew=True)
        self._visited.add(repository)
        return item

    def _check_visible(self, repository: str) -> None:
        """Make sure that the account sees the project, and a repository whose issues are in it.

        Raises:
            BoardAccessError: it does not; GitHub then says of everything there that it is missing.
        """
        self._project.columns(anew=True)
        listed = {item.repository for item in self._picture.cards()}
        if repository in {self._home, *self._visited, *listed}:
            self._of(repository).check_visible()

    def _comments(self, item: Item) -> list[Comment]:
        with _about(item.id):
            return self._of(item.repository).comments(item.issue)

    def _put(self, item: Item, queue: str) -> Item:
        """See that a card is in a column, at its end if it comes there."""
        try:
            return self._put_into(item, self._project.option(queue))
        except RefusedValueError:  # somebody has made the columns anew: they have other ids now
            self._picture.expire()
            self._project.columns(anew=True)
            return self._put_into(item, self._project.option(queue))
        except MissingError as exc:
            self._check_visible(item.repository)
            raise TaskNotFoundError(item.id) from exc

    def _put_into(self, item: Item, option: str) -> Item:
        card = item.card or self._again(lambda: self._project.add(item.content_id))
        if item.card is not None and item.option == option:
            return item
        last = next((i.card for i in reversed(self._picture.cards()) if i.option == option), None)
        self._again(lambda: self._project.put(card, option, last))
        self._written[item.content_id] = option
        self._picture.expire()  # for the order of the cards
        return replace(item, card=card, option=option)

    @staticmethod
    def _again[T](write: Callable[[], T]) -> T:
        """Do what does no harm if it is done twice, once more if its answer was lost."""
        try:
            return write()
        except AnswerLostError as lost:
            with still_lost(lost):
                return write()


def _task(item: Item, column: str, comments: Sequence[Comment] = ()) -> Task:
    issue: Issue = item.issue
    task = issue.task(column, issue.labels, comments)
    tasks = (*task.tasks, *item.parts)
    return replace(task, id=item.id, tasks=tasks, blocked_by=item.blockers)


@contextmanager
def _about(task_id: str) -> Generator[None]:
    """Name the task, of which the repository knows the number only."""
    try:
        yield
    except TaskNotFoundError as exc:
        raise TaskNotFoundError(task_id) from exc
