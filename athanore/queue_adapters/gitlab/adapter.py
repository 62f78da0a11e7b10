"""The issues of a GitLab project as a board: what is GitLab's own of the eleven methods."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final, cast
from urllib.parse import quote, urlsplit

from cachetools import TTLCache

from athanore.errors import (
    BoardAccessError,
    ConfigurationError,
    InvalidTaskError,
    TaskMovedError,
)
from athanore.models import BoardIdentity, Comment, Quota, Task
from athanore.queue_adapters.gitlab.account import Account
from athanore.queue_adapters.gitlab.claims import Claims
from athanore.queue_adapters.gitlab.client import GitLabClient
from athanore.queue_adapters.gitlab.issues import Issue, blockers
from athanore.queue_adapters.gitlab.project import Project
from athanore.queue_adapters.gitlab.texts import TEXTS
from athanore.queue_adapters.gitlab.webhook import Deliveries
from athanore.queue_adapters.lost_answers import written
from athanore.queue_adapters.tracker.answers import Json
from athanore.queue_adapters.tracker.checks import check_name
from athanore.queue_adapters.tracker.label_board import LabelBoard, missing
from athanore.queue_adapters.tracker.labels import Family, Labels

logger = logging.getLogger(__name__)

_LINKS_AGE: Final = 600.0
"""Seconds for which the links of an issue that has not changed are believed."""


class GitLabAdapter(LabelBoard[Issue]):
    """One project as a board; made by `GitLabBoard`.

    A poll costs one request, shared with all that ask within 1.5 seconds. The tasks of a queue come
    in the order in which people have dragged them on boards, and an issue that is moved keeps its
    place in it.
    """

    def __init__(
        self,
        client: GitLabClient,
        project: str,
        family: Family,
        *,
        site: str,
        board: str | None,
        closes: Collection[str],
        assigns: bool,
        reads_links: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._project = Project(client, project, board, now)
        labels = Labels(self._project.labels.read, family)
        super().__init__(self._project, labels, Deliveries(project))
        self._account = Account(client, self._project, assigns=assigns)
        self._claims = Claims(self._project, self.place, lambda: self._account.me.number)
        self._site = site
        self._board = board
        self._closes = frozenset(closes)
        self._reads_links = reads_links
        self._links: TTLCache[tuple[str, str], tuple[str, ...]] = TTLCache(10_000, _LINKS_AGE)
        self._links_lock = threading.Lock()
        self._number: int | None = None

    def close(self) -> None:
        """Close the connections to the server."""
        self._client.close()

    def quotas(self) -> Sequence[Quota]:
        """What GitLab told last of the account's limits; see `HasQuotas`."""
        return self._client.quotas.known()

    # --- who we are ---

    @property
    def vouches_for_authors(self) -> bool:
        """GitLab says which role in the project the author of a comment has."""
        return True

    @property
    def user(self) -> str | None:
        """The token's account, if claims assign it; the first time costs a request."""
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
        """Check that the project can be seen, its issues be written, and its labels be there.

        Nothing is changed: the check of the token's scope is a write that GitLab refuses for its
        contents if it does not refuse it for the token.

        Raises:
            BoardAccessError: the token, or its account, may not see or change the issues.
            ConfigurationError: a label, or the issue board, is missing.
        """
        self._account.check()
        name = self._project.name
        if self._board is not None and self._project.labels.lists()[0] is None:
            raise ConfigurationError(
                f"The project {name!r} has no issue board called {self._board!r}; see "
                f"{self._site}/{name}/-/boards, and write its name in GitLabBoard."
            )
        if absent := self.missing_labels(queue_names):
            noun = "label" if len(absent) == 1 else "labels"
            listed = "" if self._board is None else f", and a list for each on {self._board!r}"
            repository = f" -R {quote(name)}" if "/" in name else ""
            commands = " && ".join(f"glab label create -n '{m}'{repository}" for m in absent)
            raise ConfigurationError(
                f"The project {name!r} has no {noun} {', '.join(map(repr, absent))}; make the "
                f"{noun} at {self._site}/{name}/-/labels{listed}, or with: {commands}"
            )
        self._account.assignee  # noqa: B018  read here, and no more where somebody waits

    def board_identity(self) -> BoardIdentity:
        """Tell the board by its project, whose number stays when it is renamed."""
        row = self._project.row()
        host = urlsplit(self._site).hostname
        path = str(row.get("path_with_namespace") or self._project.name)
        marks = (f"gitlab:{host}#{row['id']}", f"gitlab:{host}/{path}".lower())
        return BoardIdentity(marks, f"{self._site}/{path}")

    # --- tasks ---

    def move_task(self, task_id: str, target_queue: str) -> None:
        """Put an issue's label of the board in place of another; its other labels stay.

        An issue that was closed by a move is opened by the next one; what others have closed stays
        closed.
        """
        label = self.label(target_queue)
        issue = self._project.issue(task_id)
        values = self._swap(issue, label)
        is_done = target_queue in self._closes
        if is_done and issue.is_open:
            values["state_event"] = "close"
        elif not (issue.is_open or is_done) and self.queue_of(issue) in self._closes:
            values["state_event"] = "reopen"
        if values:
            self._project.picture.wrote(self._swapped(issue, values, label))

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
        if any("," in label for label in labels or ()):
            raise InvalidTaskError(f"A label of GitLab has no comma; the labels were {labels!r}.")
        issue = self._project.issue(task_id)
        values: Json = {}
        if name is not None:
            values["title"] = TEXTS.title(name)
        if description is not None:
            values["description"] = TEXTS.body(description)
        if labels is not None:
            has = self._labels.others(issue.labels)
            if added := missing(labels, has):
                values["add_labels"] = added
            if removed := missing(has, labels):
                values["remove_labels"] = removed
        if assignees is not None:
            ids = [self._project.user_id(who) for who in dict.fromkeys(assignees)]
            values["assignee_ids"] = ids or [0]
        now = self._project.change(issue, values, lambda found: _has(found, values))
        self._project.picture.wrote(now)
        if assignees is not None and (left_out := missing(assignees, [*now.assignees.values()])):
            raise InvalidTaskError(
                f"GitLab does not assign {', '.join(map(repr, left_out))} to the issue {now.id} of "
                f"{self._project.name}: assignees must be members of the project, and on GitLab "
                "Free an issue has one."
            )
        return self.whole(now)

    def create_task(self, queue_name: str, name: str, description: str = "") -> Task:
        """Open an issue with the queue's label."""
        check_name(name)
        label = self.label(queue_name)
        issue = self._project.create(TEXTS.title(name), description, label)
        if not issue.labels_like(label):
            raise self._not_labelled(issue, label)
        self._project.picture.wrote(issue)
        return self.task(issue, queue_name)

    def claim_task(
        self, task_id: str, *, source_queue: str, target_queue: str, assignee: str | None
    ) -> Task:
        """Check that an issue has its source label, and swap that for the target's and assign it.

        The last two are one request. Of claims with one token one has the issue at a time (see
        `claims.Claims`). A person who moves it between our look and our write wins: the answer
        shows his label, and ours is taken off again.

        Raises:
            TaskMovedError: the issue is closed, or in another queue.
        """
        self.label(source_queue)
        label = self.label(target_queue)
        with self._claims.alone(task_id, source_queue) as issue:
            comments = self._project.comments(issue)  # after the write nothing may fail
            blocked_by = self._blockers(issue) if self._reads_links else ()
            values = self._swap(issue, label)
            if assignee and assignee not in issue.assignees.values():
                values["assignee_ids"] = [*issue.assignees, self._account.me.number]
            claimed = self._swapped(issue, values, label)
            with written(f"Task {task_id!r} was claimed"):
                self._give_way(claimed, values, label, source_queue)
            self._project.picture.wrote(claimed)
        if assignee and assignee not in claimed.assignees.values():
            logger.warning(
                "Task %r is claimed; GitLab did not assign %r: on GitLab Free an issue has one "
                "assignee.",
                task_id,
                assignee,
                extra={"action": "assignee_refused"},
            )
        with written(f"Task {task_id!r} was claimed"):
            return super().task(replace(claimed, blocked_by=blocked_by), target_queue, comments)

    def task(self, issue: Issue, queue: str, comments: Iterable[Comment] = ()) -> Task:
        """An issue as a task of a queue, with what blocks it if that is asked for."""
        if self._reads_links:
            issue = replace(issue, blocked_by=self._blockers(issue))
        return super().task(issue, queue, comments)

    # --- helpers ---

    def _give_way(self, claimed: Issue, values: Json, label: str, source_queue: str) -> None:
        """See that no person has given a claimed issue another label of the board meanwhile.

        Raises:
            TaskMovedError: one has, and ours is off again.
        """
        own = claimed.labels_like(label)
        if values and set(self._labels.of_queues(claimed.labels)) > set(own):
            ours = {"remove_labels": own}
            now = self._project.change(claimed, ours, lambda found: _has(found, ours))
            self._project.picture.wrote(now)
            raise TaskMovedError(claimed.id, expected=source_queue, actual=self.place(now))

    def _swap(self, issue: Issue, label: str) -> Json:
        """What to change so that of the board's labels an issue has this one and no other."""
        values: Json = {}
        if not issue.labels_like(label):
            values["add_labels"] = [label]
        others = [
            one for one in self._labels.of_queues(issue.labels) if one.lower() != label.lower()
        ]
        if others:
            values["remove_labels"] = others
        return values

    def _swapped(self, issue: Issue, values: Json, label: str) -> Issue:
        """Make a change of labels.

        Raises:
            BoardAccessError: GitLab has left the label out.
        """
        now = self._project.change(issue, values, lambda found: _has(found, values))
        if not now.labels_like(label):
            raise self._not_labelled(now, label)
        return now

    def _not_labelled(self, issue: Issue, label: str) -> BoardAccessError:
        return BoardAccessError(
            f"GitLab did not put the label {label!r} on the issue {issue.id}, because the token's "
            "account may not label issues; give it at least the role Planner or Reporter in "
            f"{self._project.name!r}."
        )

    def _blockers(self, issue: Issue) -> tuple[str, ...]:
        key = (issue.id, issue.updated_at)
        with self._links_lock:
            known = self._links.get(key)
        if known is None:
            if self._number is None:
                self._number = int(self._project.row()["id"])
            known = blockers(self._project.links(issue), self._number)
            with self._links_lock:
                self._links[key] = known
        return known


def _has(issue: Issue, values: Json) -> bool:
    """Tell whether an issue is as a change was to make it."""
    there = {label.lower() for label in issue.labels}
    added, removed = (
        {label.lower() for label in cast("list[str]", values.get(field, []))}
        for field in ("add_labels", "remove_labels")
    )
    wanted = {"close": False, "reopen": True}.get(values.get("state_event", ""), issue.is_open)
    return (
        added <= there
        and not removed & there
        and values.get("title", issue.title) == issue.title
        and TEXTS.read(values.get("description", issue.body))[0] == issue.body
        and set(values.get("assignee_ids", issue.assignees)) - {0} == set(issue.assignees)
        and issue.is_open is wanted
    )
