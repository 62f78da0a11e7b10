"""What Linear's webhook delivers: whether it is Linear's, new and fresh, and what it is about.

Deliveries are signed over the raw body, which has the time of its sending in it: one that was
recorded is good for a minute, and a signature that comes again does nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.tracker.answers import Json, mapping
from athanore.queue_adapters.tracker.deliveries import Seen, payload, same

FRESH: Final = 60.0
"""Seconds for which a delivery counts, as in Linear's own library."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event.

    Attributes:
        states: the ids of the states that it concerns; None if that may be any.
        issue: the id of its issue; None if it has none.
        data: of what it tells, as it is now.
        kind: what it tells of (`Issue`, `Comment`, `IssueLabel`).
    """

    kind: str
    states: frozenset[str] | None
    issue: str | None
    data: Json


class Deliveries:
    """Reads the deliveries of one team; thread-safe.

    Args:
        now: seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._seen = Seen()

    def read(
        self, headers: Mapping[str, str], body: bytes, secret: str, team: str
    ) -> Delivery | None:
        """Read a delivery; None if it concerns no issue of the team, or has come before.

        Args:
            headers: with names in small letters.
            body: as it came, byte for byte.
            team: the id of the team.

        Raises:
            WebhookRefusedError: it is not signed with the secret, or was sent more than a minute
                ago.
        """
        expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        if not same(headers.get("linear-signature", ""), expected):
            raise WebhookRefusedError(
                "The webhook is not signed with ATHANORE_WEBHOOK_TOKEN; give Athanore the signing "
                "secret that Linear shows with the webhook."
            )
        told = payload(body)
        sent = told.get("webhookTimestamp")
        age = self._now() - sent / 1000 if isinstance(sent, int | float) else float("inf")
        if abs(age) > FRESH:
            raise WebhookRefusedError(
                f"The webhook's delivery was sent {age:.0f} s ago by Linear's clock, which is over "
                f"{FRESH:.0f} s: it may be a recording, or this machine's clock is wrong."
            )
        if not self._seen.is_new(expected):
            return None
        return _delivery(str(told.get("type") or ""), told, team)

    def acting(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Act on a delivery that was read: if that fails, it counts when it is sent again."""
        return self._seen.acting(headers["linear-signature"])


def _delivery(kind: str, told: Json, team: str) -> Delivery | None:
    data, before = mapping(told.get("data")), mapping(told.get("updatedFrom"))
    match kind:
        case "Issue" if team in (data.get("teamId"), before.get("teamId")):
            states = frozenset(str(s) for s in (data.get("stateId"), before.get("stateId")) if s)
            return Delivery(kind, states, str(data.get("id") or ""), data)
        case "Comment" if (issue := mapping(data.get("issue"))).get("id"):
            own = mapping(issue.get("team")).get("id") or issue.get("teamId") or team
            return Delivery(kind, None, str(issue["id"]), data) if own == team else None
        case "IssueLabel":
            return Delivery(kind, None, None, data)
        case _:
            return None
