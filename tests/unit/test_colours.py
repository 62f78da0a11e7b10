"""Colours of an agent's output are kept beside the text, and never with a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanore.flows.attempts.colours import Painter
from athanore.texts import readable

RED, BOLD, OFF = "\x1b[31m", "\x1b[1m", "\x1b[0m"


def spans(raw: str, clean: str | None = None) -> list[tuple[int, int, str]]:
    found = Painter().spans(raw, readable(raw) if clean is None else clean)
    return [(s["start"], s["length"], s["style"]) for s in found]


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("plain", []),
        (f"{RED}no{OFF} way", [(0, 2, "red")]),
        (f"a {RED}{BOLD}b{OFF}", [(2, 1, "red bold")]),
        (f"{BOLD}a\x1b[22mb", [(0, 1, "bold")]),
        ("\x1b[1;4;91mx\x1b[24;39my", [(0, 1, "red bold underline"), (1, 1, "bold")]),
        ("\x1b[mx\x1b[2my\x1b[3mz", [(1, 1, "dim"), (2, 1, "dim italic")]),
        ("\x9b32mgreen", [(0, 5, "green")]),
        ("\x1b[38;5;12mx", [(0, 1, "blue")]),
        ("\x1b[38;5;196mx", [(0, 1, "red")]),
        ("\x1b[38;5;250mx", [(0, 1, "white")]),
        ("\x1b[38;2;10;200;30mx", [(0, 1, "green")]),
        ("\x1b[38:2:200:0:200mx", [(0, 1, "magenta")]),
        ("\x1b[48;2;1;2;3;36mx", [(0, 1, "cyan")]),
        ("\x1b[38mx", []),
        ("\x1b[38:2::200:0:0mx", [(0, 1, "red")]),
        ("\x1b[38:5:4mx", [(0, 1, "blue")]),
        ("\x1b[4:3mx\x1b[4:0my", [(0, 1, "underline")]),
        ("\x1b[1;58;2;255;0;0mx", [(0, 1, "bold")]),
        ("\x1b[38;2mx", [(0, 1, "black")]),
        ("\x1b[38;5:3mx", []),
        ("\x1b[38;5;3:4mx", [(0, 1, "black")]),
        ("\x1b[99999999999;31mx", [(0, 1, "red")]),
        (f"10 %\r{RED}100 %", [(0, 5, "red")]),
        (f"{RED}ab\b\b{OFF}c", []),
        (f"é🎉{RED}x", [(2, 1, "red")]),
        ("\x1b[31mx" + "y" * 5000, []),
        ("".join(f"\x1b[3{n % 2 + 1}mx" for n in range(200)), []),
    ],
)
def test_what_has_which_style(raw: str, found: list[tuple[int, int, str]]) -> None:
    assert spans(raw) == found


@given(st.text("0123456789;:", max_size=30), st.text("0123456789;:", max_size=30))
def test_no_sequence_is_one_that_cannot_be_read(first: str, second: str) -> None:
    painter = Painter()
    for parameters in (first, second):
        painter.spans(f"a\x1b[{parameters}mb", "ab")


def test_a_style_lasts_over_lines() -> None:
    painter = Painter()
    assert painter.spans(f"{RED}one", "one") == [{"start": 0, "length": 3, "style": "red"}]
    assert painter.spans("two", "two") == [{"start": 0, "length": 3, "style": "red"}]
    assert painter.spans(f"{OFF}three", "three") == []
    assert painter.spans("four", "four") == []


def test_a_stream_without_end_is_not_looked_through() -> None:
    line = f"{RED}{'x' * 30}{OFF}"
    painter = Painter(budget=10 * len(line))
    found = [bool(painter.spans(line, readable(line))) for _ in range(20)]
    assert sum(found) == 10
    assert found == sorted(found, reverse=True)


def test_a_line_in_which_something_was_redacted_has_none() -> None:
    assert spans(f"key {RED}sk-123{OFF}", "key ***") == []


PARTS = ["a", "b", "\r", "\b", "\n", "\t", "\x01", "\x7f", "\x9b", "\x1b", "[31m", "\x1b[K", "é"]


@given(st.lists(st.sampled_from(PARTS), max_size=30).map("".join))
def test_whatever_a_terminal_makes_of_a_line_its_colour_is_known(written: str) -> None:
    raw = RED + written
    clean = readable(raw)
    found = spans(raw)
    assert [style for *_, style in found] == ["red"] * bool(clean)
    assert sum(length for _, length, _ in found) == len(clean)
