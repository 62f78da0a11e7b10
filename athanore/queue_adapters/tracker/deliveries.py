"""What webhooks of trackers have in common: signatures over the raw body, and each counts once."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from cachetools import LRUCache

from athanore.queue_adapters.tracker.answers import Json, mapping

_REMEMBERED: Final = 10_000


class Seen:
    """What has been delivered already, so that what comes again does nothing; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: LRUCache[str, bool] = LRUCache(_REMEMBERED)

    def is_new(self, delivery: str) -> bool:
        """Note a delivery, and tell whether it has not been noted before."""
        with self._lock:
            is_new = delivery not in self._seen
            self._seen[delivery] = True
            return is_new

    @contextmanager
    def acting(self, *noted: str) -> Generator[None]:
        """Act on a delivery that is noted: if that fails, it is new when it is sent again."""
        try:
            yield
        except BaseException:
            with self._lock:
                for delivery in noted:
                    self._seen.pop(delivery, None)
            raise


def signature(secret: str, body: bytes) -> str:
    """The signature of a raw body as GitHub and Jira write it: `sha256=` and an HMAC in hex."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def same(said: str, expected: str) -> bool:
    """Compare two signatures, or secrets, in constant time."""
    return hmac.compare_digest(said.encode(), expected.encode())


def payload(body: bytes) -> Json:
    """The JSON object that was delivered; empty if it is none."""
    try:
        return mapping(json.loads(body))
    except ValueError:
        return {}
