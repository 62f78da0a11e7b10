"""What GitHub's webhook delivers: whether it is GitHub's, whether it is new, and what it is about.

A delivery is signed over its raw body with the secret that GitHub and we share. The signature has
no time in it, and does not cover the delivery's id, so that what somebody has recorded stays valid:
signatures are remembered, and a body that comes again does nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from cachetools import LRUCache

from athanore.errors import WebhookRefusedError
from athanore.queue_adapters.github.issues import Issue, Json, is_pull_request, parse

_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of a repository: the labels that it is about, and the issue if there is one."""

    labels: frozenset[str]
    issue: Issue | None = None
    renames: bool = False
    """Whether the labels themselves have changed, which changes no issue."""


class Deliveries:
    """Reads the deliveries of one repository; thread-safe."""

    def __init__(self, repository: str) -> None:
        self._repository = repository.lower()
        self._lock = threading.Lock()
        self._seen: LRUCache[str, bool] = LRUCache(_REMEMBERED)

    def read(self, headers: Mapping[str, str], body: bytes, secret: str) -> Delivery | None:
        """Read a delivery; None if it concerns no issue of the repository, or has come before.

        Args:
            headers: with names in small letters.
            body: as it came, byte for byte.

        Raises:
            WebhookRefusedError: it is not signed with the secret.
        """
        expected = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
        signature = headers.get("x-hub-signature-256", "")
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise WebhookRefusedError(
                "The webhook is not signed with ATHANORE_WEBHOOK_TOKEN; enter that as its secret "
                "on GitHub, with the content type application/json."
            )
        with self._lock:
            is_new = expected not in self._seen
            self._seen[expected] = True
        payload = _payload(body)
        named = str(_mapping(payload.get("repository")).get("full_name") or "").lower()
        if not is_new or named != self._repository:
            return None
        return _delivery(headers.get("x-github-event", ""), payload)


def _delivery(event: str, payload: Json) -> Delivery | None:
    label = _mapping(payload.get("label")).get("name")
    if event == "label":
        former = _mapping(_mapping(payload.get("changes")).get("name")).get("from")
        return Delivery(frozenset(str(name) for name in (label, former) if name), renames=True)
    row = _mapping(payload.get("issue"))
    if event not in ("issues", "issue_comment") or not row or is_pull_request(row):
        return None
    try:
        issue = parse(row)
    except (KeyError, TypeError, ValueError):
        return None
    return Delivery(frozenset([*issue.labels, *([str(label)] if label else [])]), issue)


def _payload(body: bytes) -> Json:
    try:
        return _mapping(json.loads(body))
    except ValueError:
        return {}


def _mapping(value: object) -> Json:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
