"""What was looked at and found, by the doctor and by a check of the code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from athanore.errors import AthanoreError


class Level(StrEnum):
    """How bad a finding is: `warn` works for now, `fail` does not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what, what is so, and for a bad one how to mend it."""

    what: str
    level: Level
    says: str
    mend: str = ""


def failed(what: str, error: AthanoreError) -> Finding:
    """A finding from an error, whose message says what to mend after its first part."""
    says, _, mend = " ".join(str(error).split()).partition("; ")
    return Finding(what, Level.FAIL, says, mend[:1].upper() + mend[1:])
