"""What GitLab's webhook delivers: whether it is GitLab's, whether it is new, what it is about.

GitLab sends a secret as it is (`X-Gitlab-Token`), or, from 19.0 on and with a signing token
(`whsec_...`), a signature over id, time and raw body as Standard Webhooks has it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.gitlab.issues import Issue, label_names, parse
from athanore.queue_adapters.tracker.answers import Json, mapping, number
from athanore.queue_adapters.tracker.deliveries import Seen, payload, same
from athanore.queue_adapters.tracker.label_board import Delivery

SIGNING: Final = "whsec_"
"""What a signing token begins with."""

_WINDOW: Final = 300.0
"""Seconds that a signature's time may lie from ours."""


class Deliveries:
    """Reads the deliveries of one project, which is named or numbered; thread-safe."""

    def __init__(self, project: str, now: Callable[[], float] = time.time) -> None:
        self._project = project.lower()
        self._now = now
        self._seen = Seen()

    def read(self, headers: Mapping[str, str], body: bytes, secret: str) -> Delivery[Issue] | None:
        """Read a delivery; None if it concerns no issue of the project, or has come before.

        Args:
            headers: with names in small letters.
            body: as it came, byte for byte.

        Raises:
            WebhookRefusedError: it has not the secret, or is not signed with it.
        """
        identity = check_genuine(headers, body, secret, self._now())
        if identity and not self._seen.is_new(identity):
            return None
        event = payload(body)
        project = mapping(event.get("project"))
        names = (str(project.get("path_with_namespace")).lower(), str(project.get("id")))
        return _delivery(event) if self._project in names else None

    def acting(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """Act on a delivery that was read: if that fails, it counts when it is sent again."""
        return self._seen.acting(
            *(headers.get(name, "") for name in ("webhook-id", "idempotency-key"))
        )


def check_genuine(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> str:
    """Check that a delivery is GitLab's; returns what tells it from others.

    Args:
        now: the time, in seconds since 1970.

    Raises:
        WebhookRefusedError: it has not the secret, or is not signed with it.
    """
    if secret.startswith(SIGNING):
        _check_signature(headers, body, secret, now)
        return headers.get("webhook-id", "")
    if same(headers.get("x-gitlab-token", ""), secret):
        return headers.get("idempotency-key") or headers.get("webhook-id", "")
    raise WebhookRefusedError(
        "The webhook does not send ATHANORE_WEBHOOK_TOKEN; enter that as its secret token on "
        "GitLab."
    )


def _check_signature(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> None:
    sent = headers.get("webhook-timestamp", "")
    try:
        key = base64.b64decode(secret.removeprefix(SIGNING), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise WebhookRefusedError(
            "ATHANORE_WEBHOOK_TOKEN begins with whsec_ and is no signing token of GitLab; copy "
            "it again."
        ) from exc
    signed = f"{headers.get('webhook-id', '')}.{sent}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    said = headers.get("webhook-signature", "").split(" ")
    if not any([same(one, expected) for one in said]):
        raise WebhookRefusedError(
            "The webhook is not signed with ATHANORE_WEBHOOK_TOKEN; set that to the signing "
            "token that GitLab shows for the webhook."
        )
    if abs((number(sent) or 0) - now) > _WINDOW:
        raise WebhookRefusedError(
            f"The webhook was signed at {sent}, more than five minutes from now; check the "
            "clock of this machine."
        )


def _delivery(event: Json) -> Delivery[Issue] | None:
    details = mapping(event.get("object_attributes"))
    if event.get("object_kind") == "issue":
        row = details | {"labels": event.get("labels") or details.get("labels")}
    elif event.get("object_kind") == "note" and details.get("noteable_type") == "Issue":
        row = mapping(event.get("issue"))
    else:
        return None
    if details.get("system"):
        return None
    try:
        issue = parse({"updated_at": "", **row, "labels": row.get("labels") or []})
    except (KeyError, TypeError, ValueError):
        return None
    changed = mapping(mapping(event.get("changes")).get("labels"))
    before = label_names(changed.get("previous") or [])
    return Delivery(frozenset([*issue.labels, *before]), issue)
