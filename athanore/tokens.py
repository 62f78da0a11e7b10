"""Tokens of agent runs: what an agent shows to the task API, and dies with its attempt.

A token is `ath_<flow run id>_<random>`. Only its SHA-256 is kept, in a label of the run, one per
attempt; so the token of an earlier attempt is still known, and known to be over.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from hmac import compare_digest
from uuid import UUID

PATTERN = re.compile(r"ath_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
"""What a token looks like; the group is the id of its run."""

_LABEL = "athanore.token."


def new_token(run_id: UUID) -> str:
    """Make a token for one attempt of a run, with 256 random bits."""
    return f"ath_{run_id}_{secrets.token_urlsafe(32)}"


def run_of(token: str) -> UUID | None:
    """The run that a token names; None if this is no token."""
    match = PATTERN.fullmatch(token)
    return None if match is None else UUID(match.group(1))


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256, in hex."""
    return sha256(token.encode()).hexdigest()


def label(attempt: int) -> str:
    """The label of a run under which the digest of an attempt's token is kept."""
    return f"{_LABEL}{attempt}"


def attempt_of(token: str, labels: dict[str, object]) -> int | None:
    """The attempt that a token was made for, by the labels of its run; None if it is forged."""
    shown = digest(token)
    for name, kept in labels.items():
        if name.startswith(_LABEL) and compare_digest(str(kept), shown):
            return int(name.removeprefix(_LABEL))
    return None
