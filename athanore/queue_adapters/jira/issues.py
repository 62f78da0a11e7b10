"""An issue as Jira's REST API tells it, and as a task."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from athanore.models import Comment, Task
from athanore.queue_adapters.jira import texts
from athanore.queue_adapters.times import time_of
from athanore.queue_adapters.tracker.answers import Json, mapping
from athanore.queue_adapters.tracker.checklists import checklist

FIELDS: Final = (
    "summary",
    "description",
    "status",
    "labels",
    "assignee",
    "creator",
    "priority",
    "created",
    "updated",
    "issuelinks",
    "project",
)
"""What a search is asked for: without it Jira Cloud tells ids only."""

CLAIM: Final = "athanore.claim"
"""The property of an issue that the first of several claims makes, and the others find."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The property of a claim that has not come to its end.

    Attributes:
        id: whose claim it is.
        at: when it was made, by Jira's clock; None if that cannot be read.
        source: the queue where it began; None unless it goes by several steps.
        target: the queue where it is to end; None unless it goes by several steps.
    """

    id: str
    at: datetime | None
    source: str | None = None
    target: str | None = None

    def is_older(self, age: timedelta, now: datetime) -> bool:
        """Tell whether it was made so long ago."""
        return self.at is None or now - self.at > age


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue as it was read; `updated_at` is as Jira writes it, and sorts as text.

    `status` is the id of a status. `is_open` is whether that is one of the board's watched ones.
    `claim` is that whose property is on the issue, if it was asked for.
    """

    id: str
    number: int
    title: str
    body: str
    status: str
    place: str
    labels: tuple[str, ...]
    assignee: str | None
    updated_at: str
    url: str
    blocked_by: tuple[str, ...] = ()
    is_open: bool = True
    author: str | None = None
    priority: str | None = None
    created_at: str = ""
    claim: Claim | None = None

    def looks_like(self, other: object) -> bool:
        """Tell whether another state of the issue differs in nothing that we write."""
        if not isinstance(other, Issue):
            return False
        mine, theirs = (
            (i.title, i.body, i.status, i.assignee, frozenset(i.labels)) for i in (self, other)
        )
        return mine == theirs

    def task(self, queue: str, comments: Iterable[Comment] = ()) -> Task:
        """The issue as a task."""
        return Task(
            self.id,
            self.title,
            queue,
            self.body,
            self.labels,
            (self.assignee,) if self.assignee else (),
            tuple(comments),
            checklist(self.body),
            blocked_by=self.blocked_by,
            url=self.url,
            author=self.author,
            priority=self.priority,
            created_at=time_of(self.created_at),
            updated_at=time_of(self.updated_at),
        )


def is_id(task_id: str) -> bool:
    """Tell whether a text can be the key of an issue."""
    return re.fullmatch(r"[A-Z][A-Z0-9_]*-[1-9][0-9]{0,9}", task_id) is not None


def parse(row: Json, site: str) -> Issue:
    """Read one issue.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    fields = cast("Json", row["fields"])
    key = str(row["key"])
    return Issue(
        key,
        int(row["id"]),
        str(fields["summary"]),
        texts.read(fields.get("description")),
        str(fields["status"]["id"]),
        str(fields["status"]["name"]),
        tuple(str(label) for label in fields.get("labels") or ()),
        name_of(fields.get("assignee")),
        str(fields.get("updated") or ""),
        f"{site}/browse/{key}",
        tuple(_blockers(fields.get("issuelinks") or [])),
        author=name_of(fields.get("creator")),
        priority=mapping(fields.get("priority")).get("name"),
        created_at=str(fields.get("created") or ""),
        claim=claim_of(mapping(row.get("properties")).get(CLAIM)),
    )


def name_of(user: object) -> str | None:
    """Whom people see: the user's name as it is shown."""
    row = mapping(user)
    return str(row["displayName"]) if row.get("displayName") else row.get("name")


def comment(row: Json) -> Comment:
    """Read one comment."""
    at = datetime.fromisoformat(row["created"])
    author = name_of(row.get("author"))
    return Comment(texts.read(row.get("body")), author, at, id=str(row["id"]))


def author_key(row: Json) -> str | None:
    """How Jira names the person who wrote a comment; None of an app, or of a customer."""
    author = mapping(row.get("author"))
    if author.get("accountType", "atlassian") != "atlassian":
        return None
    return author.get("accountId") or author.get("name")


def claim_of(value: object) -> Claim | None:
    """Read the property of a claim; None if there is none."""
    if value is None:
        return None
    row = mapping(value)
    at = time_of(str(row.get("at") or ""))
    source, target = row.get("from"), row.get("to")
    if not isinstance(source, str) or not isinstance(target, str):
        source = target = None
    return Claim(str(row.get("id") or ""), at, source, target)


def _blockers(links: Iterable[Json]) -> Iterable[str]:
    """The issues that block one: of a link of the type Blocks the inward end, if it is not done."""
    for link in links:
        other = mapping(link.get("inwardIssue"))
        kind = str(mapping(link.get("type")).get("name") or "").lower()
        status = mapping(mapping(other.get("fields")).get("status"))
        if (
            kind == "blocks"
            and other
            and mapping(status.get("statusCategory")).get("key") != "done"
        ):
            yield str(other["key"])
