"""What GitHub's webhook delivers: whether it is GitHub's, whether it is new, and what it is about.

A delivery is signed over its raw body with the secret that GitHub and we share. The signature has
no time in it, and does not cover the delivery's id, so that what somebody has recorded stays valid:
signatures are remembered, and a body that comes again does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.github.issues import Issue, is_pull_request, parse
from athanore.queue_adapters.tracker.answers import Json, mapping
from athanore.queue_adapters.tracker.deliveries import Seen, payload, same, signature
from athanore.queue_adapters.tracker.label_board import Delivery


class Deliveries:
    """Reads the deliveries of one repository; thread-safe."""

    def __init__(self, repository: str) -> None:
        self._repository = repository.lower()
        self._seen = Seen()

    def read(self, headers: Mapping[str, str], body: bytes, secret: str) -> Delivery[Issue] | None:
        """Read a delivery; None if it concerns no issue of the repository, or has come before.

        Args:
            headers: with names in small letters.
            body: as it came, byte for byte.

        Raises:
            WebhookRefusedError: it is not signed with the secret.
        """
        event = genuine(headers, body, secret)
        is_new = self._seen.is_new(headers["x-hub-signature-256"])
        named = str(mapping(event.get("repository")).get("full_name") or "").lower()
        if not is_new or named != self._repository:
            return None
        return _delivery(headers.get("x-github-event", ""), event)

    def acting(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Act on a delivery that was read: if that fails, it counts when it is sent again."""
        return self._seen.acting(headers["x-hub-signature-256"])


def genuine(headers: Mapping[str, str], body: bytes, secret: str) -> Json:
    """What was delivered; its signature is in `x-hub-signature-256`.

    Raises:
        WebhookRefusedError: it is not signed with the secret.
    """
    if not same(headers.get("x-hub-signature-256", ""), signature(secret, body)):
        raise WebhookRefusedError(
            "The webhook is not signed with ATHANORE_WEBHOOK_TOKEN; enter that as its secret on "
            "GitHub, with the content type application/json."
        )
    return payload(body)


def _delivery(event: str, payload: Json) -> Delivery[Issue] | None:
    label = mapping(payload.get("label")).get("name")
    if event == "label":
        former = mapping(mapping(payload.get("changes")).get("name")).get("from")
        return Delivery(frozenset(str(name) for name in (label, former) if name), renames=True)
    row = mapping(payload.get("issue"))
    if event not in ("issues", "issue_comment") or not row or is_pull_request(row):
        return None
    try:
        issue = parse(row)
    except (KeyError, TypeError, ValueError):
        return None
    return Delivery(frozenset([*issue.labels, *([str(label)] if label else [])]), issue)
