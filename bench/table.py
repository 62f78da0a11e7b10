"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        key: the name that `--only` takes.
        what: what was measured.
        aim: what it should be; empty where the figure is only stated.
        measured: what it is, in words.
        met: whether the aim is met; None where there is none, or it could not be measured.
        figures: the numbers behind the words.
    """

    key: str
    what: str
    aim: str
    measured: str
    met: bool | None
    figures: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def verdict(self) -> str:
        """`met`, `missed` or `stated`."""
        return {True: "met", False: "missed", None: "stated"}[self.met]


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table("what", "aim", "measured", "verdict", box=box.SIMPLE_HEAD, show_lines=True)
    colours = {"met": "green", "missed": "red", "stated": "dim"}
    for row in rows:
        verdict = f"[{colours[row.verdict]}]{row.verdict}[/]"
        table.add_row(escape(row.what), escape(row.aim), escape(row.measured), verdict)
    console.print(table)


def save(path: Path, rows: Sequence[Row], seconds: float) -> None:
    """Write the rows and what they were measured on as JSON."""
    value = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
        "seconds": round(seconds, 1),
        "rows": [{**asdict(row), "verdict": row.verdict} for row in rows],
    }
    path.write_text(json.dumps(value, indent=2, default=str) + "\n")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share (0 to 1) of the values lies."""
    if len(values) == 1:
        return values[0]
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[min(98, max(0, round(share * 100) - 1))]


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Fit a line through (x, y) points; returns its slope and its value at x = 0."""
    slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
    return slope, intercept
