"""An issue as Linear tells it, and as a task."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from athanore.models import Comment, Task
from athanore.queue_adapters.times import time_of
from athanore.queue_adapters.tracker.answers import Json, mapping
from athanore.queue_adapters.tracker.checklists import checklist
from athanore.queue_adapters.tracker.texts import SPACE, Breaking, Texts

CLOSED: Final = frozenset({"completed", "canceled", "duplicate"})
"""The types of states whose issues are done with."""

TEXTS: Final = Texts(
    longest_title=255,
    longest_text=50_000,  # Linear documents no limit
    breakings=(
        Breaking(
            # A mention is the address of a profile; plain `@name` notifies nobody.
            re.compile(r"(https://linear\.app/[\w-]+/)(?=profiles/)"),
            re.compile(rf"(https://linear\.app/[\w-]+/){SPACE}"),
        ),
    ),
)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,9}-[1-9][0-9]{0,8}")
_MOST_LABELS: Final = 100

_NO_PRIORITY: Final = "No priority"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue as it was read; `updated_at` is as Linear writes it, and sorts as text.

    `blockers` are the ids of the issues that block it and are not closed. `is_open` is False for
    what is never ready: closed, archived, in the trash, or put off to a later day.
    """

    id: str
    identifier: str
    title: str
    description: str
    url: str
    team: str
    state: str
    label_ids: tuple[str, ...]
    assignees: tuple[str, ...]
    assignee_id: str | None
    blockers: tuple[str, ...]
    sort_order: float
    updated_at: str
    is_open: bool
    is_kept: bool
    author: str | None
    priority: str | None
    created_at: str

    def looks_like(self, other: object) -> bool:
        """Tell whether another state of the issue differs in nothing that we write."""
        return isinstance(other, Issue) and self._written() == other._written()

    def task(self, queue: str, labels: Iterable[str], comments: Iterable[Comment] = ()) -> Task:
        """The issue as a task; its name begins with the identifier that people know it by."""
        return Task(
            self.id,
            f"{self.identifier} {self.title}",
            queue,
            self.description,
            tuple(labels),
            self.assignees,
            tuple(comments),
            checklist(self.description),
            self.blockers,
            self.url,
            self.author,
            self.priority,
            time_of(self.created_at),
            time_of(self.updated_at),
        )

    def _written(self) -> tuple[object, ...]:
        return (
            self.title,
            self.description,
            self.state,
            frozenset(self.label_ids),
            self.assignee_id,
            self.is_open,
        )


def is_id(text: str) -> bool:
    """Tell whether a text can name an issue: its UUID, or an identifier such as `ENG-12`."""
    return _UUID.fullmatch(text) is not None or _IDENTIFIER.fullmatch(text) is not None


def is_identifier(text: str) -> bool:
    """Tell whether a text is an identifier such as `ENG-12`."""
    return _IDENTIFIER.fullmatch(text) is not None


def title_of(name: str, identifier: str) -> str:
    """The title in the name of a task: without the identifier before it, if that is there."""
    return TEXTS.title(name.strip().removeprefix(f"{identifier} "))


def parse(row: Json) -> Issue:
    """Read one issue.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    people = [person for person in (row["assignee"], row["delegate"]) if person]
    snoozed = row["snoozedUntilAt"]
    is_kept = not row["archivedAt"] and not row["trashed"]
    return Issue(
        str(row["id"]),
        str(row["identifier"]),
        str(row["title"]),
        TEXTS.read(row["description"])[0],
        str(row["url"]),
        str(row["team"]["id"]),
        str(row["state"]["id"]),
        tuple(map(str, row["labelIds"])),
        tuple(str(person["displayName"]) for person in people),
        row["assignee"] and str(row["assignee"]["id"]),
        blockers_in(row["inverseRelations"]["nodes"]),
        float(row["sortOrder"]),
        str(row["updatedAt"]),
        is_kept
        and row["state"]["type"] not in CLOSED
        and not (snoozed and datetime.fromisoformat(snoozed) > datetime.now(UTC)),
        is_kept,
        mapping(row["creator"]).get("displayName"),
        None if row["priorityLabel"] == _NO_PRIORITY else str(row["priorityLabel"]),
        str(row["createdAt"]),
    )


def blockers_in(relations: Iterable[Json]) -> tuple[str, ...]:
    """The ids of the issues that block one, and are not closed."""
    return tuple(
        str(relation["issue"]["id"])
        for relation in relations
        if relation["type"] == "blocks" and relation["issue"]["state"]["type"] not in CLOSED
    )


def comments(rows: Sequence[Json]) -> list[Comment]:
    """Comments, oldest first; not those that are remarks on a part of the description."""
    found = [(datetime.fromisoformat(row["createdAt"]), row) for row in rows]
    found.sort(key=lambda one: one[0])
    return [
        Comment(TEXTS.read(row["body"])[0], _author(row), at, _may_write(row), row["id"])
        for at, row in found
        if row["quotedText"] is None
    ]


def _author(row: Json) -> str | None:
    if row["user"]:
        return str(row["user"]["displayName"])
    other = mapping(row["botActor"] or row["externalUser"])
    return other.get("name")


def _may_write(row: Json) -> bool:
    """Whether a person of the workspace wrote a comment, and by hand.

    Who sees an issue in Linear may write to it. What other systems brought there is of nobody whom
    Linear knows, and what our own key wrote may be an agent's.
    """
    user = row["user"]
    if not user or row["botActor"] or row["externalUser"]:
        return False
    return bool(user["active"] and not user["app"] and not user["isMe"])
