"""Printing: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, cast

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 200

type Cell = str | Text | int | None


def console() -> Console:
    """Standard output; colours only on a terminal and without NO_COLOR, no folding in a pipe."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=_WIDE, soft_wrap=True)


def say(text: str, style: str = "") -> None:
    """Print a line for a person."""
    console().print(Text(text, style), soft_wrap=True)


def warn(text: str) -> None:
    """Print a line for a person to standard error."""
    Console(stderr=True, highlight=False).print(Text(text, "yellow"), soft_wrap=True)


def print_json(value: object) -> None:
    """Print dataclasses, lists and plain values as JSON; times are ISO 8601."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False, default=_value) + "\n")


def plain(value: object) -> Any:
    """Turn dataclasses into dictionaries."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in cast(Sequence[object], value)]
    return value


def _value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], title: str = "") -> None:
    """Print rows under headings; texts are taken as they are, never as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            *(c if isinstance(c, Text) else Text("" if c is None else str(c)) for c in row)
        )
    out = console()
    if title:
        out.print(Text(title, "bold"))
    if table.row_count:
        out.print(table)
    else:
        out.print(Text("  none\n", "dim"))


def ago(moment: datetime | None) -> str:
    """The time since a moment: `45 s`, `12 min`, `3 h`, `2 d`."""
    return "" if moment is None else duration((datetime.now(UTC) - moment).total_seconds())


def until(moment: datetime | None) -> str:
    """The time until a moment; `now` if it has come."""
    if moment is None:
        return ""
    left = (moment - datetime.now(UTC)).total_seconds()
    return "now" if left <= 0 else f"in {duration(left)}"


def duration(seconds: float) -> str:
    """A duration in its largest unit that says enough."""
    for unit, size in (("d", 172_800), ("h", 7200), ("min", 120)):
        if seconds >= size:
            return f"{seconds / (size / 2):.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def state_text(state: str) -> Text:
    """A state in its colour."""
    styles = {
        "Running": "green", "Completed": "green", "Failed": "red", "Crashed": "red",
        "TimedOut": "red", "Stalled": "red", "Cancelled": "dim", "Cancelling": "yellow",
        "AwaitingRetry": "yellow", "Late": "yellow", "paused": "yellow",
    }  # fmt: skip
    return Text(state, styles.get(state.split(" ")[0], ""))
