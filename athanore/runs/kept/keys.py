"""Keys with which people's MCP clients reach the task API, kept in Prefect: a variable for each.

A key is `ath_key_<id>_<random>`. Only a proof of it is kept: an HMAC with the operators' key of the
key, its app and what it may do, so that whoever can write to Prefect cannot make one, nor have one
do more.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

from pydantic import TypeAdapter

from athanore import names
from athanore.runs.port import RunStore
from athanore.runs.records.tokens import KEY_PATTERN

type Scope = Literal["read", "steer"]

PATTERN = KEY_PATTERN

_TAG = "athanore-key"


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key.

    Attributes:
        app: whose it is.
        name: what people call it.
        scope: `read`: sees tasks, comments and queues; `steer`: comments, moves, creates,
            dispatches and cancels, too.
    """

    id: str
    app: str
    name: str
    scope: Scope
    proof: str
    created_at: datetime


_KEY = TypeAdapter(Key)


async def create(
    prefect: RunStore, app: str, name: str, scope: Scope, signing_key: bytes
) -> tuple[Key, str]:
    """Make a key with 256 random bits; returns what is kept of it, and the key itself."""
    while True:
        key_id = secrets.token_hex(4)
        token = f"ath_key_{key_id}_{secrets.token_urlsafe(32)}"
        proof = _proof(token, app, scope, signing_key)
        key = Key(key_id, app, name, scope, proof, datetime.now(UTC))
        value = _KEY.dump_python(key, mode="json")
        if await prefect.keep_first(_name(key_id), value, _tags(app)):
            return key, token


async def of_app(prefect: RunStore, app: str) -> list[Key]:
    """The keys of an app, the oldest first."""
    found = [_parse(kept.value) for kept in await prefect.values(_tags(app))]
    return sorted((k for k in found if k and k.app == app), key=lambda k: k.created_at)


async def find(prefect: RunStore, app: str, token: str, signing_key: bytes) -> Key | None:
    """The key that somebody shows; None if it is forged, revoked, or another app's."""
    match = PATTERN.fullmatch(token)
    if match is None or (kept := await prefect.value(_name(match[1]))) is None:
        return None
    key = _parse(kept.value)
    if key is None or key.app != app:
        return None
    wanted = _proof(token, app, key.scope, signing_key)
    return key if hmac.compare_digest(key.proof.encode(), wanted.encode()) else None


async def revoke(prefect: RunStore, key: Key) -> None:
    """Have a key open nothing any more."""
    await prefect.forget(_name(key.id))


def _proof(token: str, app: str, scope: Scope, signing_key: bytes) -> str:
    return hmac.new(signing_key, json.dumps([app, scope, token]).encode(), sha256).hexdigest()


def _parse(value: Any) -> Key | None:
    try:
        return _KEY.validate_python(value)
    except ValueError:
        return None  # somebody's own


def _tags(app: str) -> list[str]:
    return [_TAG, names.app_tag(app)]


def _name(key_id: str) -> str:
    return f"{_TAG}-{key_id}"
