"""The methods of `QueueAdapter` on the issues of a Jira project, and the claim."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from athanore.errors import (
    BoardAccessError,
    BoardError,
    ConfigurationError,
    InvalidTaskError,
    NotSupportedError,
    QueueNotFoundError,
    TaskMovedError,
)
from athanore.models import BoardIdentity, Comment, Queue, Quota, Task
from athanore.queue_adapters.jira import texts
from athanore.queue_adapters.jira.account import (
    COMMON_VARIABLES,
    OWN_VARIABLE,
    PERMISSIONS,
    Person,
)
from athanore.queue_adapters.jira.client import JiraClient
from athanore.queue_adapters.jira.issues import Issue
from athanore.queue_adapters.jira.moves import Moves
from athanore.queue_adapters.jira.project import Project
from athanore.queue_adapters.jira.webhook import Deliveries
from athanore.queue_adapters.tracker.answers import Json
from athanore.queue_adapters.tracker.checks import check_comment, check_name
from athanore.queue_adapters.tracker.label_board import missing
from athanore.queue_adapters.tracker.tokens import variables_with

logger = logging.getLogger(__name__)

_TIDIED_AT_ONCE: Final = 5
"""Issues at most from which one poll takes what a claim has left behind."""


class JiraAdapter:
    """One project as a board; made by `JiraBoard`.

    A poll costs one request for each 100 issues of the watched queues, shared with all that ask
    within 1.5 seconds. The tasks of a queue come by rank.
    """

    def __init__(
        self,
        client: JiraClient,
        key: str,
        site: str,
        *,
        jql: str | None,
        via: Mapping[str, str],
        fields: Mapping[str, Mapping[str, Any]],
        issue_type: str,
        assigns: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._jql = jql
        self._issue_type = issue_type
        self._assigns = assigns
        self._project = Project(client, key, site, jql, now)
        self._moves = Moves(self._project, self._status_of, via, fields)
        self._deliveries = Deliveries(key)

    def close(self) -> None:
        """Close the connections to the server."""
        self._client.close()

    def quotas(self) -> Sequence[Quota]:
        """What Jira told last of the account's limit; see `HasQuotas`."""
        return self._client.quotas.known()

    # --- who we are ---

    @property
    def vouches_for_authors(self) -> bool:
        """Jira says whether issues of the project may be assigned to the author of a comment."""
        return True

    @property
    def user(self) -> str | None:
        """The token's account, if claims assign it; the first time costs a request."""
        return self._project.me.name if self._assigns else None

    @property
    def secret_env(self) -> frozenset[str]:
        """The variables that hold the board's token; another token is the agents' own."""
        return variables_with(self._client.token, COMMON_VARIABLES) | {OWN_VARIABLE}

    @property
    def secrets(self) -> frozenset[str]:
        """The token, also one that was given in the code."""
        return frozenset({self._client.token})

    def prepare(self, queue_names: Sequence[str]) -> None:
        """Check that the project can be seen, its issues be changed, and its statuses be there.

        Raises:
            BoardAccessError: the token, or its account, may not do something; it is named.
            ConfigurationError: a status is missing.
        """
        self._project.me  # noqa: B018  a wrong token is told by this
        found = self._project.statuses(anew=True)
        wanted = {"projectKey": self._project.key, "permissions": ",".join(PERMISSIONS)}
        told: Json = self._client.get("api/2/mypermissions", wanted)["permissions"]
        lacking = [p for p in PERMISSIONS if not told.get(p, {}).get("havePermission")]
        if lacking:
            raise BoardAccessError(
                f"The token's account lacks permissions in the project {self._project.key!r}: "
                f"{', '.join(lacking)}; give them to it in the project's settings (a token with "
                "scopes needs read:jira-work, write:jira-work and read:jira-user as well)."
            )
        if absent := [name for name in queue_names if name not in found]:
            noun = "status" if len(absent) == 1 else "statuses"
            raise ConfigurationError(
                f"The project {self._project.key!r} has no {noun} {', '.join(map(repr, absent))}; "
                f"add it to the workflow in the project's settings, or name another queue. There "
                f"are: {', '.join(map(repr, found))}."
            )
        self._project.search.check_order()

    def board_identity(self) -> BoardIdentity:
        """Tell the board by its site and project."""
        site, key = self._project.site, self._project.key
        host = urlsplit(site).hostname
        narrowed = f"?{self._jql}" if self._jql else ""
        return BoardIdentity((f"jira:{host}/{key}{narrowed}".lower(),), f"{site}/browse/{key}")

    # --- tasks ---

    def get_ready_tasks(self, queue_names: Sequence[str]) -> list[Task]:
        """Return the issues of the queues, with checklists and without comments."""
        if not queue_names:
            return []
        if self._project.search.watch(self._statuses(queue_names), self._moves.between()):
            self._project.picture.forget()
        by_queue: dict[str, list[Task]] = {name: [] for name in queue_names}
        left = _TIDIED_AT_ONCE
        for issue in self._project.picture.cards():
            if left and self._moves.tidy(issue):
                left -= 1
            queue = self._place(issue)
            if queue in by_queue:
                by_queue[queue].append(issue.task(queue))
        return [task for tasks in by_queue.values() for task in tasks]

    def get_task(self, task_id: str) -> Task:
        """Return one issue whole, as it is now."""
        return self._whole(self._project.issue(task_id))

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Take an issue to another status, by a transition of its workflow."""
        self._statuses([target_queue])
        moved = self._moves.move(self._project.issue(task_id), target_queue)
        self._wrote(self._moves.without_claim(moved))

    def add_comment(self, task_id: str, text: str) -> None:
        """Add a comment; the account of the token signs it.

        Raises:
            AnswerLostError: the answer was lost twice, and the comment was not found (yet).
        """
        check_comment(task_id, text)
        self._project.comment(task_id, text)

    def update_task(
        self,
        task_id: str,
        *,
        assignees: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        labels: Sequence[str] | None = None,
    ) -> Task:
        """Set the given fields. A label that does not exist is made."""
        if name is not None:
            check_name(name)
        if len(assignees or ()) > 1:
            raise InvalidTaskError(f"An issue of Jira has one assignee; {assignees!r} are several.")
        if odd := [label for label in labels or () if not label or " " in label]:
            raise InvalidTaskError(f"A label of Jira has no blanks; {odd[0]!r} has.")
        issue = self._project.issue(task_id)
        fields: Json = {}
        wanted = issue
        if name is not None:
            fields["summary"] = texts.TEXTS.title(name)
            wanted = replace(wanted, title=fields["summary"])
        if description is not None:
            fields["description"] = texts.written(description) or None
            wanted = replace(wanted, body=texts.read(fields["description"]))
        if assignees is not None:
            person = self._project.person(assignees[0]) if assignees else None
            fields["assignee"] = person.reference if person else None
            wanted = replace(wanted, assignee=person.name if person else None)
        body: Json = {"fields": fields} if fields else {}
        if labels is not None:
            changes = [{"add": one} for one in missing(labels, issue.labels)]
            changes += [{"remove": one} for one in missing(issue.labels, labels)]
            body |= {"update": {"labels": changes}} if changes else {}
            wanted = replace(wanted, labels=tuple(labels))
        if body:
            issue = self._project.set_fields(issue, body, wanted.looks_like)
            self._wrote(issue)
        return self._whole(issue)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Create an issue, and take it to the queue.

        Raises:
            InvalidTaskError: no transition leads there from the workflow's first status; the issue
                stays in that.
        """
        check_name(name)
        self._statuses([queue_name])
        title = texts.TEXTS.title(name)
        place: Callable[[Issue], Issue] = lambda issue: self._moves.move(issue, queue_name)  # noqa: E731
        issue = self._project.create(self._issue_type, queue_name, title, description, place)
        self._wrote(issue)
        return issue.task(queue_name)

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Take an issue from its source to its target status, and assign it if it is nobody's.

        Of several claims one wins; see `moves.Moves.alone`. A person who moves the issue between
        our look and the transition wins, unless the transition is global.

        Raises:
            TaskMovedError: the issue is in another queue.
        """
        self._statuses([source_queue, target_queue])
        issue = self._project.issue(task_id)
        self._check(issue, source_queue)
        with self._moves.alone(issue, target_queue) as turn:
            comments = self._project.comments(issue)  # after the move nothing may fail
            me = self._project.me if assignee else None
            issue = self._moves.sure(issue, turn)
            self._check(issue, source_queue)
            claimed = self._moves.move(issue, target_queue, turn)
            self._wrote(claimed)
        if me is not None and claimed.assignee is None:
            claimed = self._assigned(claimed, me)
        return claimed.task(target_queue, comments)

    # --- queues ---

    def list_queues(self) -> list[Queue]:
        """Return the statuses of the project, and how many issues are in each."""
        counts = Counter(map(self._place, self._issues()))
        watched = self._project.search.watched
        return [
            Queue(name, counts[name] if ids <= watched else self._project.search.count(ids))
            for name, ids in self._project.statuses().items()
        ]

    def get_queue(self, queue_name: str) -> Queue:
        """Return one queue."""
        ids = frozenset(self._statuses([queue_name]))
        if not ids <= self._project.search.watched:
            return Queue(queue_name, self._project.search.count(ids))
        found = [issue for issue in self._issues() if self._place(issue) == queue_name]
        return Queue(queue_name, len(found))

    def create_queue(self, queue_name: str) -> Queue:
        """Refuse: a status is made in Jira's workflow."""
        self._refuse()

    def update_queue(self, queue_name: str, *, new_name: str) -> Queue:
        """Refuse: a status is renamed in Jira's settings."""
        self._statuses([queue_name])
        self._refuse()

    def delete_queue(self, queue_name: str) -> None:
        """Refuse: a status is deleted in Jira's workflow."""
        self._statuses([queue_name])
        self._refuse()

    # --- webhooks ---

    def queues_of_delivery(
        self, headers: Mapping[str, str], body: bytes, secret: str, queue_names: Sequence[str]
    ) -> list[str]:
        """Return which of the queues an event of issues or comments may have changed.

        The issue is read anew, because the search does not know yet what has just happened. What
        this process has just done itself is no change.
        """
        delivery = self._deliveries.read(headers, body, secret)
        if delivery is None:
            return []
        task_id, statuses = delivery
        with self._deliveries.acting(headers):
            try:
                issue = self._project.issue(task_id)
            except BoardError:
                issue = None
            if issue is not None and self._project.picture.is_own(issue):
                return []
            self._project.picture.expire()
            found = self._project.statuses()
            if issue is not None:  # last: what we know is no news when it comes again
                self._wrote(issue)
        return [name for name in queue_names if found.get(name, frozenset()) & statuses]

    def forget_picture(self) -> None:
        """Have the next poll ask what has changed."""
        self._project.picture.expire()

    # --- helpers ---

    def _refuse(self) -> NoReturn:
        raise NotSupportedError(
            "The queues of this board are the statuses of Jira's workflow; make, rename and delete "
            "them in the settings of the project there."
        )

    def _statuses(self, queue_names: Iterable[str]) -> list[str]:
        """The ids of statuses.

        Raises:
            QueueNotFoundError: there is no such status.
        """
        found = self._project.statuses()
        names = list(queue_names)
        if any(name not in found for name in names):
            found = self._project.statuses(anew=True)
        for name in names:
            if name not in found:
                raise QueueNotFoundError(name, found)
        return [status for name in names for status in found[name]]

    def _issues(self) -> list[Issue]:
        return self._project.picture.cards() if self._project.search.watched else []

    def _place(self, issue: Issue) -> str:
        return self._moves.place(issue)

    def _status_of(self, issue: Issue) -> str:
        """The status of an issue, as the project calls it."""
        for name, ids in self._project.statuses().items():
            if issue.status in ids:
                return name
        return issue.place

    def _check(self, issue: Issue, source_queue: str) -> None:
        actual = self._place(issue)
        if actual != source_queue:
            raise TaskMovedError(issue.id, expected=source_queue, actual=actual)

    def _whole(self, issue: Issue) -> Task:
        self._moves.tidy(issue)
        comments: list[Comment] = self._project.comments(issue)
        return issue.task(self._place(issue), comments)

    def _wrote(self, issue: Issue) -> None:
        """Have the picture know what we have written before the search does."""
        self._project.search.wrote(issue)
        is_open = issue.status in self._project.search.watched
        self._project.picture.wrote(replace(issue, is_open=is_open))

    def _assigned(self, issue: Issue, me: Person) -> Issue:
        """Assign a claimed issue; what fails here is said, and does not undo the claim."""
        try:
            now = self._project.set_fields(
                issue, me.reference, lambda found: found.assignee == me.name, "/assignee"
            )
        except BoardError as exc:
            logger.warning(
                "Task %r is claimed; %r was not assigned: %s",
                issue.id,
                me.name,
                exc,
                extra={"action": "assignee_refused"},
            )
            return issue
        self._wrote(now)
        return now
