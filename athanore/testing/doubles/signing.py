"""What the doubles' webhooks deliver: a body, and a signature over it."""

from __future__ import annotations

import hashlib
import hmac
import json

type Delivery = tuple[dict[str, str], bytes]
"""Headers, with names in small letters, and the raw body."""


def encoded(payload: object) -> bytes:
    """The body of a delivery."""
    return json.dumps(payload, ensure_ascii=False).encode()


def hex_digest(secret: str, body: bytes) -> str:
    """The HMAC of a body, as GitHub, Jira and Linear write it."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
