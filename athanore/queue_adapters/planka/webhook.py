"""Reading what Planka sends to a webhook, which may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Change:
    """What a payload tells: the ids of boards and lists that may have changed, and who did it."""

    boards: frozenset[str]
    lists: frozenset[str]
    is_of_a_card: bool
    user_id: object


def read_change(payload: object) -> Change:
    """Read a payload; one that makes no sense names no board."""
    event = _mapping(payload)
    items = [_mapping(_mapping(event.get(key)).get("item")) for key in ("data", "prevData")]
    return Change(
        boards=frozenset(str(item["boardId"]) for item in items if "boardId" in item),
        lists=frozenset(str(i[key]) for i in items for key in ("listId", "id") if key in i),
        is_of_a_card=any("listId" in item for item in items),
        user_id=_mapping(event.get("user")).get("id"),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
