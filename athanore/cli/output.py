"""Printing: tables for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, cast

from rich.console import Console

from athanore.launch.terminal.display import Cell, table, text
from athanore.texts import as_json

_WIDE = 200


def console() -> Console:
    """Standard output; colours only on a terminal and without NO_COLOR, no folding in a pipe."""
    if sys.stdout.isatty():
        return Console(emoji=False, highlight=False)
    return Console(emoji=False, highlight=False, width=_WIDE, soft_wrap=True)


def say(words: str, style: str = "") -> None:
    """Print a line for a person."""
    console().print(text((words, style)), soft_wrap=True)


def warn(words: str) -> None:
    """Print a line for a person to standard error."""
    Console(stderr=True, emoji=False, highlight=False).print(
        text((words, "yellow")), soft_wrap=True
    )


def print_json(value: object) -> None:
    """Print dataclasses, lists and plain values as JSON; times are ISO 8601."""
    sys.stdout.write(as_json(plain(value), indent=2) + "\n")


def plain(value: object) -> Any:
    """Turn dataclasses into dictionaries."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in cast(Sequence[object], value)]
    return value


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    title: str = "",
    *,
    cut: Sequence[str] = (),
    keep: Sequence[str] = (),
    wraps: str | None = None,
) -> None:
    """Print rows under headings; see `athanore.launch.terminal.display.table`."""
    out = console()
    if title:
        out.print(text((title, "bold")))
    shown = table(columns, rows, cut=cut, keep=keep, wraps=wraps)
    out.print(shown if shown.row_count else text(("  none\n", "dim")))
