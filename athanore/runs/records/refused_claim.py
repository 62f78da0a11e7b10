"""What the board has refused a run at its claim, kept at the run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from athanore.models import Task

HELD = "claim"
"""What the record of a run says of a task that is held so, where others name an option."""


@dataclass(frozen=True, slots=True)
class RefusedClaim:
    """How often the board has refused the claim of a task as it is, and until when nobody asks.

    Attributes:
        seen: what the task and the app were like; see `digest`.
        count: how often the claim was refused so.
        text: what the board said last.
        until: when it is asked again although nothing has changed.
    """

    seen: str
    count: int
    text: str
    until: datetime

    @staticmethod
    def parse(label: str) -> RefusedClaim | None:
        """Read a label; None if there is nothing in it that can be read."""
        try:
            return _JSON.validate_json(label) if label else None
        except ValidationError:
            return None

    def dump(self) -> str:
        """The label that says this."""
        return _JSON.dump_json(self).decode()


_JSON = TypeAdapter(RefusedClaim)


def digest(task: Task, version: str) -> str:
    """A short text that is another one once the task, a comment at it or the app has changed.

    Not when it was changed last: on some boards a claim that is refused changes that.

    Args:
        version: of the app's code.
    """
    seen = repr((replace(task, updated_at=None), version))
    return hashlib.sha256(seen.encode(errors="surrogatepass")).hexdigest()[:16]
