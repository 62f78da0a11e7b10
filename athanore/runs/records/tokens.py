"""Tokens of agent runs: what an agent shows to the task API, and dies with its start.

A token is `ath_<flow run id>_<random>`. Only a proof of it is kept, in the record of the run, one
for each start; so the token of an earlier start is still known, and known to be over.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from uuid import UUID

PATTERN = re.compile(r"ath_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
"""What a token looks like; the group is the id of its run."""

KEY_PATTERN = re.compile(r"ath_key_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
"""What the key of a person looks like (see `keys`); the group is its id."""


def new_token(run_id: UUID) -> str:
    """Make a token for one start of a run, with 256 random bits."""
    return f"ath_{run_id}_{secrets.token_urlsafe(32)}"


def run_of(token: str) -> UUID | None:
    """The run that a token names; None if this is no token."""
    match = PATTERN.fullmatch(token)
    return None if match is None else UUID(match.group(1))


def proof(token: str, start: int, task_id: str | None, key: bytes | None) -> str:
    """What is kept of a token, in hex: it shows that a token is the start's, and is none itself.

    With the operators' key it is an HMAC of the token, its run, the start and the task, so that
    whoever can write labels in Prefect cannot make tokens. Without a key it is a SHA-256.
    """
    if key is None:
        return sha256(token.encode()).hexdigest()
    said = json.dumps([str(run_of(token)), start, task_id, token])
    return hmac.new(key, said.encode(), sha256).hexdigest()


def start_of(
    token: str, proofs: Mapping[int, str], task_id: str | None, key: bytes | None
) -> int | None:
    """The number of the start that a token was made for; None if it is forged.

    Args:
        proofs: what is kept of the tokens of a run, by the number of the start.
        task_id: the task that the run names.
        key: the operators' key, if there is one.
    """
    for start, kept in proofs.items():
        wanted = proof(token, start, task_id, key)
        if hmac.compare_digest(kept.encode(), wanted.encode()):
            return start
    return None
