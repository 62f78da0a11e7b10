"""What Jira's webhook delivers: whether it is Jira's, whether it is new, and what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import cast

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.tracker.answers import Json, mapping
from athanore.queue_adapters.tracker.deliveries import Seen, payload, same, signature


class Deliveries:
    """Reads the deliveries of one project; thread-safe."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._seen = Seen()

    def read(
        self, headers: Mapping[str, str], body: bytes, secret: str
    ) -> tuple[str, frozenset[str]] | None:
        """The key of the issue that a delivery is about, and the ids of statuses it concerns.

        None if it concerns no issue of the project, or has come before.

        Args:
            headers: with names in small letters.
            body: as it came, byte for byte.

        Raises:
            WebhookRefusedError: it is not signed with the secret.
        """
        expected = signature(secret, body)
        if not same(headers.get("x-hub-signature", ""), expected):
            raise WebhookRefusedError(
                "The webhook is not signed with ATHANORE_WEBHOOK_TOKEN; enter that as its secret "
                "in Jira."
            )
        if not self._seen.is_new(expected):
            return None
        event = payload(body)
        issue = mapping(event.get("issue"))
        fields = mapping(issue.get("fields"))
        key = str(issue.get("key") or "")
        changes = _objects(mapping(event.get("changelog")).get("items"))
        keys = {key, *(str(c.get("fromString")) for c in changes if c.get("field") == "Key")}
        if not any(one.rpartition("-")[0] == self._key for one in keys):
            return None
        moved = [c for c in changes if "status" in (c.get("fieldId"), c.get("field"))]
        found = {str(value) for c in moved for value in (c.get("from"), c.get("to")) if value}
        if (now := mapping(fields.get("status")).get("id")) is not None:
            found.add(str(now))
        return key, frozenset(found)

    def acting(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Act on a delivery that was read: if that fails, it counts when it is sent again."""
        return self._seen.acting(headers["x-hub-signature"])


def _objects(value: object) -> list[Json]:
    return list(map(mapping, cast("list[object]", value))) if isinstance(value, list) else []
