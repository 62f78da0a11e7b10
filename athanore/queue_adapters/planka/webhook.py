"""Reading what Planka sends to a webhook, which may be anything, and telling our own changes."""

from __future__ import annotations

from dataclasses import dataclass

from athanore.queue_adapters.tracker.answers import Json, mapping

_WRITES = ("cardCreate", "cardUpdate")
_WRITTEN = ("boardId", "listId", "name", "description", "isClosed")
"""What we write of a card. Its position is left out, because Planka may have changed it."""


@dataclass(frozen=True, slots=True)
class CardRow:
    """A card as Planka tells it, to be compared with how we have written it."""

    row: Json

    @property
    def id(self) -> str:
        """The card's id."""
        return str(self.row.get("id"))

    @property
    def is_open(self) -> bool:
        """Whether it is not closed."""
        return not self.row.get("isClosed")

    @property
    def updated_at(self) -> str:
        """When it was changed last."""
        return str(self.row.get("updatedAt") or "")

    def looks_like(self, other: object) -> bool:
        """Tell whether another state of the card differs in nothing that we write."""
        if not isinstance(other, CardRow):
            return False
        return all((self.row.get(k) or None) == (other.row.get(k) or None) for k in _WRITTEN)


@dataclass(frozen=True, slots=True)
class Change:
    """What a payload tells: the ids of boards and lists that may have changed.

    `written` is the card as it is now, if it was created or changed and not deleted.
    """

    boards: frozenset[str]
    lists: frozenset[str]
    is_of_a_card: bool
    written: CardRow | None


def read_change(payload: object) -> Change:
    """Read a payload; one that makes no sense names no board."""
    event = mapping(payload)
    items = [mapping(mapping(event.get(key)).get("item")) for key in ("data", "prevData")]
    is_of_a_card = any("listId" in item for item in items)
    return Change(
        boards=frozenset(str(item["boardId"]) for item in items if "boardId" in item),
        lists=frozenset(str(i[key]) for i in items for key in ("listId", "id") if key in i),
        is_of_a_card=is_of_a_card,
        written=CardRow(items[0]) if is_of_a_card and event.get("event") in _WRITES else None,
    )
