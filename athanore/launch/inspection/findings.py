"""What was looked at and found, by the doctor and by a check of the code."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from athanore.errors import AthanoreError
from athanore.routing.routes import Route


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


def at_route(finding: Finding, route: Route) -> Finding:
    """A finding with the place of the function that its route decorates, where that is known."""
    code = getattr(inspect.unwrap(route.prompt), "__code__", None)
    if code is None:
        return finding
    return replace(
        finding, says=f"{place(Path(code.co_filename), code.co_firstlineno)}{finding.says}"
    )


def place(file: Path, line: int) -> str:
    """A line of a file, to begin a message with."""
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"{shown}, line {line}: "
