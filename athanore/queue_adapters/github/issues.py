"""An issue as GitHub's REST API tells it, and as a task."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from athanore.errors import TaskNotFoundError
from athanore.models import Comment, Task
from athanore.queue_adapters.github.texts import TEXTS
from athanore.queue_adapters.times import time_of
from athanore.queue_adapters.tracker.answers import Json, mapping
from athanore.queue_adapters.tracker.checklists import checklist

_ID = re.compile(r"(?:([A-Za-z0-9-]+)[~/])?([A-Za-z0-9._-]+)[-#]([1-9][0-9]{0,9})")
_MAY_WRITE = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue as it was read; `updated_at` is as GitHub writes it, and sorts as text.

    Attributes:
        node_id: what GraphQL calls it.
        blocked_by: how many open issues block it.
        parts: how many sub-issues it has.
    """

    number: int
    title: str
    body: str
    labels: tuple[str, ...]
    assignees: tuple[str, ...]
    is_open: bool
    updated_at: str
    url: str | None = None
    node_id: str = ""
    created_at: str = ""
    blocked_by: int = 0
    parts: int = 0
    author: str | None = None

    @property
    def id(self) -> str:
        """The issue's id as a task."""
        return str(self.number)

    def has_label(self, label: str) -> bool:
        """Tell whether the issue has a label; GitHub does not tell cases apart."""
        return label.lower() in (own.lower() for own in self.labels)

    def looks_like(self, other: object) -> bool:
        """Tell whether another state of the issue differs in nothing that we write."""
        if not isinstance(other, Issue):
            return False
        mine, theirs = (
            (issue.title, issue.body, issue.is_open, frozenset(issue.labels))
            for issue in (self, other)
        )
        return mine == theirs

    def task(self, queue: str, labels: Iterable[str], comments: Iterable[Comment] = ()) -> Task:
        """The issue as a task; `labels` are those that are no queue's."""
        return Task(
            self.id,
            self.title,
            queue,
            self.body,
            tuple(labels),
            self.assignees,
            tuple(comments),
            checklist(self.body),
            url=self.url,
            author=self.author,
            created_at=time_of(self.created_at),
            updated_at=time_of(self.updated_at),
        )


class Ids:
    """How issues of several repositories are called as tasks.

    Args:
        owner: whose repositories are called by their names alone.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def of(self, repository: str, number: int) -> str:
        """The id of an issue: `website-12`, or `other~website-12` of another owner."""
        owner, _, name = repository.partition("/")
        is_own = owner.lower() == self._owner.lower()
        return f"{name}-{number}" if is_own else f"{owner}~{name}-{number}"

    def read(self, task_id: str) -> tuple[str, int]:
        """The repository and the number in an id, or in what people type: `website#12`.

        Raises:
            TaskNotFoundError: it is none.
        """
        if (found := _ID.fullmatch(task_id)) is None:
            raise TaskNotFoundError(task_id)
        return f"{found[1] or self._owner}/{found[2]}", int(found[3])


def is_id(task_id: str) -> bool:
    """Tell whether a text can be the number of an issue."""
    return re.fullmatch(r"[1-9][0-9]{0,9}", task_id) is not None


def is_pull_request(row: Json) -> bool:
    """Tell whether a row of a list of issues is none."""
    return row.get("pull_request") is not None


def parse(row: Json) -> Issue:
    """Read one issue.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    body, _ = TEXTS.read(row.get("body"))
    assignees = cast("list[Json]", row.get("assignees") or [])
    return Issue(
        int(row["number"]),
        str(row["title"]),
        body,
        label_names(row["labels"]),
        tuple(str(user["login"]) for user in assignees),
        row["state"] == "open",
        str(row["updated_at"]),
        row.get("html_url"),
        str(row.get("node_id") or ""),
        str(row.get("created_at") or ""),
        int(mapping(row.get("issue_dependencies_summary")).get("blocked_by") or 0),
        int(mapping(row.get("sub_issues_summary")).get("total") or 0),
        mapping(row.get("user")).get("login"),
    )


def label_names(rows: Iterable[Json | str]) -> tuple[str, ...]:
    """The names of labels, which GitHub gives as objects, and in old answers as texts."""
    names = (row if isinstance(row, str) else cast("str | None", row.get("name")) for row in rows)
    return tuple(name for name in names if name)


def comment(row: Json) -> tuple[Comment, str | None]:
    """Read one comment, and its mark if it is one of ours."""
    text, mark = TEXTS.read(row.get("body"))
    user = cast("Json", row.get("user") or {})
    vouched = row.get("author_association") in _MAY_WRITE and user.get("type") == "User"
    at = datetime.fromisoformat(row["created_at"])
    may_write = vouched and mark is None
    return Comment(text, user.get("login"), at, may_write, str(row["id"])), mark
