"""What one read of a Planka board says, as frozen values. No I/O happens here."""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

from athanore.errors import InvalidTaskError
from athanore.models import ChecklistItem, Comment, Task
from athanore.queue_adapters.planka.texts import TEXTS
from athanore.queue_adapters.times import time_of
from athanore.queue_adapters.tracker.answers import Json

logger = logging.getLogger(__name__)

POSITION_GAP: Final = 65536
"""How far apart Planka's own client places neighbours; positions are numbers without a unit."""


def place_key(row: Mapping[str, Any]) -> tuple[float, int]:
    """The order of cards, lists and labels: by position, and by id where those are equal."""
    position = row.get("position")
    return (math.inf if position is None else position, int(row["id"]))


@dataclass(frozen=True, slots=True)
class Column:
    """A list of a board; `type` is active, closed, archive or trash."""

    id: str
    name: str | None
    type: str
    position: float


@dataclass(frozen=True, slots=True)
class Details:
    """What hangs on cards, by card id: label ids, user ids and checklists, in Planka's order."""

    labels: Mapping[str, Sequence[str]]
    members: Mapping[str, Sequence[str]]
    checklists: Mapping[str, Sequence[ChecklistItem]]

    @classmethod
    def parse(cls, included: Json) -> Self:
        """Read the `included` of a board or of a card."""
        checklists: dict[str, list[ChecklistItem]] = defaultdict(list)
        lists = {row["id"]: row for row in included.get("taskLists", [])}
        tasks = [row for row in included.get("tasks", []) if row["taskListId"] in lists]
        for row in sorted(tasks, key=lambda t: (place_key(lists[t["taskListId"]]), place_key(t))):
            item = ChecklistItem(row["name"], bool(row["isCompleted"]), row["id"])
            checklists[lists[row["taskListId"]]["cardId"]].append(item)
        return cls(
            _by_card(included.get("cardLabels", []), "labelId"),
            _by_card(included.get("cardMemberships", []), "userId"),
            checklists,
        )


@dataclass(frozen=True, slots=True)
class Board:
    """One read of a board. `queues` are its active and closed lists, as they stand on it.

    Cards in the archive and the trash are not part of a board's read.
    """

    id: str
    queues: tuple[Column, ...]
    hidden: tuple[Column, ...]
    cards: Mapping[str, Json]
    details: Details
    labels: Mapping[str, Json]
    users: Mapping[str, Json]
    roles: Mapping[str, str]
    site: str = ""
    """The address of Planka, below which its cards have pages."""

    @classmethod
    def parse(cls, answer: Json, site: str = "") -> Self:
        """Read a board's answer; a card that makes no sense is left out, with a warning."""
        included = answer["included"]
        columns = [
            Column(row["id"], row["name"], row["type"], place_key(row)[0])
            for row in sorted(included["lists"], key=place_key)
        ]
        return cls(
            id=answer["item"]["id"],
            queues=tuple(c for c in columns if c.type in ("active", "closed")),
            hidden=tuple(c for c in columns if c.type not in ("active", "closed")),
            cards={card["id"]: card for card in included["cards"] if _is_sound(card)},
            details=Details.parse(included),
            labels={row["id"]: row for row in sorted(included["labels"], key=place_key)},
            users={row["id"]: row for row in included["users"]},
            roles={row["userId"]: row["role"] for row in included["boardMemberships"]},
            site=site,
        )

    def cards_in(self, column_id: str) -> list[Json]:
        """The cards of a list, from top to bottom."""
        return sorted((c for c in self.cards.values() if c["listId"] == column_id), key=place_key)

    def end_of(self, column_id: str) -> int:
        """A position below all cards of a list."""
        return _after(card.get("position") for card in self.cards_in(column_id))

    def end_of_queues(self) -> int:
        """A position to the right of all lists."""
        return _after(column.position for column in self.queues)

    def with_card(self, card: Json) -> Self:
        """This board with a card as a later answer gave it."""
        known = self.cards.get(card["id"], {})
        if (known.get("updatedAt") or "") > (card.get("updatedAt") or ""):
            return self
        return replace(self, cards={**self.cards, card["id"]: {**known, **card}})

    def task(
        self,
        card: Json,
        queue_name: str,
        details: Details | None = None,
        comments: tuple[Comment, ...] = (),
    ) -> Task:
        """A card as a task; `details` are the board's own unless newer ones are given."""
        hung = self.details if details is None else details
        card_id: str = card["id"]
        names = self._user_names()
        return Task(
            id=card_id,
            name=card["name"],
            queue_name=queue_name,
            description=TEXTS.read(card.get("description"))[0],
            labels=tuple(self._label_name(i) for i in hung.labels.get(card_id, ())),
            assignees=tuple(names.get(i, i) for i in hung.members.get(card_id, ())),
            comments=comments,
            tasks=tuple(hung.checklists.get(card_id, ())),
            url=f"{self.site}/cards/{card_id}",
            author=names.get(card.get("creatorUserId") or ""),
            created_at=time_of(card.get("createdAt")),
            updated_at=time_of(card.get("updatedAt")),
        )

    def label_ids(self, wanted: Iterable[str]) -> list[str]:
        """Find labels by name or id; of several with one name the first on the board is meant.

        Raises:
            InvalidTaskError: the board has no such label.
        """
        by_name = {self._label_name(i): i for i in reversed([*self.labels])}
        found: list[str] = []
        for name in wanted:
            label_id = name if name in self.labels else by_name.get(name)
            if label_id is None:
                raise InvalidTaskError(
                    f"No label of the board is called {name!r}. Create it in Planka first. "
                    f"There are: {', '.join(map(repr, by_name)) or 'none'}."
                )
            found.append(label_id)
        return list(dict.fromkeys(found))

    def user_ids(self, wanted: Iterable[str]) -> list[str]:
        """Find members of the board by name, user name, e-mail address or id.

        Raises:
            InvalidTaskError: no member is called that, or several are.
        """
        names = self._user_names()
        found: list[str] = []
        for name in wanted:
            matches = [i for i in self.roles if names.get(i) == name] or [
                i
                for i in self.roles
                if name in (i, *(self.users.get(i, {}).get(k) for k in _USER_KEYS))
            ]
            if len(matches) != 1:
                members = ", ".join(repr(names.get(i, i)) for i in self.roles)
                fault = "Several members" if matches else "No member"
                raise InvalidTaskError(
                    f"{fault} of the board can be called {name!r}; only members can be assigned. "
                    f"There are: {members}."
                )
            found += matches
        return list(dict.fromkeys(found))

    def _label_name(self, label_id: str) -> str:
        label = self.labels.get(label_id, {})
        return label.get("name") or label.get("color") or label_id

    def _user_names(self) -> dict[str, str]:
        return user_names(self.users.values())


_USER_KEYS: Final = ("name", "username", "email")


def user_names(users: Iterable[Json]) -> dict[str, str]:
    """Names by user id: the display name, or the user name where several share a display name."""
    rows = list(users)
    times = Counter(row.get("name") for row in rows)
    return {
        row["id"]: row["name"]
        if row.get("name") and times[row["name"]] == 1
        else row.get("username") or row["id"]
        for row in rows
    }


def parse_comments(newest_first: Sequence[Json], users: Iterable[Json]) -> tuple[Comment, ...]:
    """Turn rows of comments into comments, oldest first."""
    names = user_names({row["id"]: row for row in users}.values())
    return tuple(
        Comment(
            TEXTS.read(row["text"])[0],
            names.get(row["userId"] or ""),
            datetime.fromisoformat(row["createdAt"]),
            id=str(row["id"]),
        )
        for row in reversed(newest_first)
    )


def _by_card(rows: Iterable[Json], key: str) -> defaultdict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: int(row["id"])):
        found[row["cardId"]].append(row[key])
    return found


def _after(positions: Iterable[float | None]) -> int:
    return math.floor(max((p for p in positions if p is not None), default=0)) + POSITION_GAP


def _is_sound(card: Json) -> bool:
    if (
        str(card.get("id")).isdigit()
        and isinstance(card.get("name"), str)
        and isinstance(card.get("listId"), str)
        and isinstance(card.get("position"), int | float | None)
    ):
        return True
    logger.warning(
        "A card of Planka makes no sense and is left out: %.200r",
        card,
        extra={"action": "planka_card_skipped"},
    )
    return False
