"""Reading what Planka sends to a webhook, which may be anything."""

from __future__ import annotations

from dataclasses import dataclass

from athanore.queue_adapters.tracker.answers import mapping


@dataclass(frozen=True, slots=True)
class Change:
    """What a payload tells: the ids of boards and lists that may have changed, and who did it."""

    boards: frozenset[str]
    lists: frozenset[str]
    is_of_a_card: bool
    user_id: object


def read_change(payload: object) -> Change:
    """Read a payload; one that makes no sense names no board."""
    event = mapping(payload)
    items = [mapping(mapping(event.get(key)).get("item")) for key in ("data", "prevData")]
    return Change(
        boards=frozenset(str(item["boardId"]) for item in items if "boardId" in item),
        lists=frozenset(str(i[key]) for i in items for key in ("listId", "id") if key in i),
        is_of_a_card=any("listId" in item for item in items),
        user_id=mapping(event.get("user")).get("id"),
    )
