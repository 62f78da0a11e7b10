"""An issue as GitLab's REST API tells it, and as a task."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from athanore.models import Comment, Task
from athanore.queue_adapters.gitlab.texts import TEXTS
from athanore.queue_adapters.times import time_of
from athanore.queue_adapters.tracker.answers import Json, mapping
from athanore.queue_adapters.tracker.checklists import checklist


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue as it was read; `updated_at` is as GitLab writes it, and sorts as text.

    `number` is that in the project (`iid`), by which people and paths name it. `moved_to` is the
    global id of the issue that takes its place in another project. `assignees` are their user names
    by their ids.
    """

    number: int
    title: str
    body: str
    labels: tuple[str, ...]
    assignees: dict[int, str]
    is_open: bool
    updated_at: str
    url: str | None = None
    moved_to: int | None = None
    blocked_by: tuple[str, ...] = ()
    author: str | None = None
    created_at: str = ""

    @property
    def id(self) -> str:
        """The issue's id as a task."""
        return str(self.number)

    def labels_like(self, label: str) -> list[str]:
        """The labels that differ from one in cases only, as the issue has them."""
        return [own for own in self.labels if own.lower() == label.lower()]

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
            tuple(self.assignees.values()),
            tuple(comments),
            checklist(self.body),
            blocked_by=self.blocked_by,
            url=self.url,
            author=self.author,
            created_at=time_of(self.created_at),
            updated_at=time_of(self.updated_at),
        )


_PROGRAM: Final = re.compile(r"(?:project|group)_\d+_bot|service_account_")


def is_id(task_id: str) -> bool:
    """Tell whether a text can be the number of an issue."""
    return re.fullmatch(r"[1-9][0-9]{0,9}", task_id) is not None


def parse(row: Json) -> Issue:
    """Read one issue.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    body, _ = TEXTS.read(row.get("description"))
    assignees = cast("list[Json]", row.get("assignees") or [])
    return Issue(
        int(row["iid"]),
        str(row["title"]),
        body,
        label_names(row["labels"]),
        {int(user["id"]): str(user["username"]) for user in assignees},
        row["state"] == "opened",
        str(row["updated_at"]),
        row.get("web_url"),
        row.get("moved_to_id"),
        author=mapping(row.get("author")).get("username"),
        created_at=str(row.get("created_at") or ""),
    )


def label_names(rows: Iterable[Json | str]) -> tuple[str, ...]:
    """The names of labels, which GitLab gives as texts, and in some answers as objects."""
    names = (
        row if isinstance(row, str) else cast("str | None", row.get("title") or row.get("name"))
        for row in rows
    )
    return tuple(name for name in names if name)


def comment(row: Json) -> tuple[Comment, str | None]:
    """Read one note, and its mark if it is one of ours."""
    text, mark = TEXTS.read(row.get("body"))
    author = mapping(row.get("author")).get("username")
    at = datetime.fromisoformat(row["created_at"])
    return Comment(text, author, at, id=str(row["id"])), mark


def author_id(row: Json) -> str | None:
    """The number of the person who wrote a note, as text; None of a program's account.

    Tokens of projects and groups, and service accounts, are members, too, and told by their names.
    """
    author = mapping(row.get("author"))
    if author.get("state") != "active" or _PROGRAM.match(str(author.get("username"))):
        return None
    return str(author["id"])


def blockers(links: Iterable[Json], project_id: int | None) -> tuple[str, ...]:
    """The open issues of the same project that block an issue, from its links.

    An issue's links are told as issues, each with what it is to the one that was asked for.
    """
    return tuple(
        str(row["iid"])
        for row in links
        if row.get("link_type") == "is_blocked_by"
        and row.get("state") == "opened"
        and row.get("project_id") == project_id
    )
