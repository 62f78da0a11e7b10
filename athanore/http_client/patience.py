"""How long is waited for a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for a server.

    Attributes:
        timeout: how long an answer may take.
        retry_delays: how long to wait before each repetition of a read that failed in passing.
    """

    timeout: timedelta = timedelta(seconds=20)
    retry_delays: Sequence[timedelta] = ()
