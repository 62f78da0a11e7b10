"""Texts on their way to a tracker, and back as they were.

Out: a text is cut to what the tracker takes, and what would mean something there besides what it
says is broken by a space without width: agents' texts shall notify nobody, close no issue and
command nothing. A comment gets a mark, by which it is found again if the answer is lost. Back: the
marks and these spaces go out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from uuid import uuid4

from athanore.texts import cut, storable

SPACE: Final = "\u200b"
"""A space without width. No tracker sees a mention or a command behind it."""

MENTION: Final = re.compile(r"(?<![\w@/.])(@)(?=[A-Za-z0-9])")
"""The beginning of a name that would be notified."""

_FENCE = re.compile(r"^ {0,3}(`{3,}+(?=[^`\n]*$)|~{3,}+).*$", re.MULTILINE)
_FENCE_END = re.compile(r"^ {0,3}(`{3,}+|~{3,}+)[ \t]*$", re.MULTILINE)
_BLANK = re.compile(r"\n[ \t]*(?=\n)")
_BACK_QUOTES = re.compile(r"`+")

_LINE = re.compile(r"((?:[ \t]*+>)*+)[ \t]*+([-+*=_#<~]|\d{1,9}[.)]|(?=\n|\Z))?([^\n]*)\n?")
"""The signs of quotes that a line begins with, that of a list, a heading or so, and the rest."""

_REMARK: Final = 40
"""Characters that the remark of a cut may take."""

_MARK: Final = re.compile(r"\n{0,2}<!-- athanore:([0-9a-f]{32}) -->\s*\Z")


def nowhere(_text: str) -> Iterable[tuple[int, int]]:
    """What is spared where a pattern means something everywhere."""
    return ()


def up_to_last(end: re.Pattern[str], text: str) -> tuple[str, str]:
    """The text up to the last end of a block, and what follows.

    Blocks are looked for in the first only: beyond it each beginning would be searched for an end
    up to the end of the text, which takes minutes where there are many.
    """
    last = 0
    for found in end.finditer(text):
        last = found.end()
    return text[:last], text[last:]


def code_in(text: str) -> Iterator[tuple[int, int]]:
    """Where the code in a text of Markdown begins and ends: there nobody is notified.

    A fence counts at the beginning of a line only, and up to one of its kind, or to the end of the
    text. Anywhere else as many back-quotes end what back-quotes have begun, in one block.
    """
    after = 0
    while (begun := _FENCE.search(text, after)) is not None:
        yield from _quoted(text, after, begun.start())
        mark = begun[1]
        ends = (e for e in _FENCE_END.finditer(text, begun.end()) if e[1].startswith(mark))
        end = next(ends, None)
        after = len(text) if end is None else end.end()
        yield begun.start(), after
    yield from _quoted(text, after, len(text))


def _quoted(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The code between back-quotes in a part of a text."""
    blanks = (found.end() for found in _BLANK.finditer(text, start, end))
    for begin, stop in pairwise([start, *blanks, end]):
        yield from _quoted_in_paragraph(text, begin, stop)


def _quoted_in_paragraph(text: str, begin: int, stop: int) -> Iterator[tuple[int, int]]:
    """The code between back-quotes in what has no blank line.

    Where another block may lie between two that fit each other, nothing behind is taken for code.
    """
    blocks = list(_blocks(text, begin, stop))
    runs = [found.span() for found in _BACK_QUOTES.finditer(text, begin, stop)]
    waiting: dict[int, list[int]] = {}
    for n, (first, last) in reversed(list(enumerate(runs))):
        waiting.setdefault(last - first, []).append(n)
    at = 0
    for n, (first, last) in enumerate(runs):
        opening = first + _is_escaped(text, first)
        closing = waiting.get(last - opening, [])
        while closing and closing[-1] <= n:
            closing.pop()
        if n >= at and opening < last and closing:
            at = closing[-1] + 1
            close = runs[closing[-1]]
            if bisect_right(blocks, opening) != bisect_right(blocks, close[0]):
                return
            yield opening, close[1]


def _blocks(text: str, begin: int, stop: int) -> Iterator[int]:
    """Where another block of Markdown may begin without a blank line before it."""
    depth, ends = 0, False
    while begin < stop and (line := _LINE.match(text, begin, stop)) is not None:
        quotes, mark, rest = line[1].count(">"), line[2], line[3]
        is_row = "|" in rest
        if ends or is_row or mark is not None or quotes > depth:
            yield begin
        depth, ends = quotes, is_row or mark == "#"
        begin = line.end()


def _is_escaped(text: str, place: int) -> bool:
    before = text[:place] if place < 32 else text[place - 32 : place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


@dataclass(frozen=True, slots=True)
class Breaking:
    """What is broken in a text, and where it is left alone.

    Attributes:
        pattern: what is broken; the space is put behind its group 1.
        undone: what `read` looks for: such a group 1, with the space behind it.
        spared: where the pattern means nothing, from the beginning to the end of a text.
    """

    pattern: re.Pattern[str]
    undone: re.Pattern[str]
    spared: Callable[[str], Iterable[tuple[int, int]]] = code_in

    def broken(self, text: str) -> str:
        """The text with each occurrence broken."""
        parts: list[str] = []
        last = 0
        for start, end in self.spared(text):
            parts += (self._without(text[last:start]), text[start:end])
            last = end
        return "".join([*parts, self._without(text[last:])])

    def _without(self, part: str) -> str:
        return self.pattern.sub(rf"\1{SPACE}", part)

    def mended(self, text: str) -> str:
        """The text as it was before."""
        return self.undone.sub(r"\1", text)


MENTIONS: Final = Breaking(MENTION, re.compile(f"(@){SPACE}"))


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts that one tracker takes.

    Attributes:
        longest_title: characters of a name.
        longest_text: characters of a description, or of a comment.
        breakings: what would mean something there.
    """

    longest_title: int
    longest_text: int
    breakings: Sequence[Breaking] = (MENTIONS,)

    def title(self, text: str) -> str:
        """A name: on one line, and cut."""
        line = re.sub(r"(?<!\s)\s*[\r\n]\s*", " ", storable(text)).strip()
        return line if len(line) <= self.longest_title else cut(line, self.longest_title - _REMARK)

    def harmless(self, text: str) -> str:
        """The text with all that would mean something broken."""
        text = storable(text)
        for breaking in self.breakings:
            text = breaking.broken(text)
        return text

    def body(self, text: str, mark: str | None = None) -> str:
        """A description or a comment, with a mark at its end if there is one."""
        end = f"\n\n<!-- athanore:{mark} -->" if mark else ""
        return self.fitting(self.harmless(text), self.longest_text - len(end)) + end

    def fitting(self, text: str, room: int) -> str:
        """The text if it has so much room; else cut, with a remark."""
        return text if len(text) <= room else cut(text, max(room - _REMARK, 0))

    def read(self, text: str | None) -> tuple[str, str | None]:
        """A description or a comment as it was before `body`, and its mark."""
        plain = (text or "").replace("\r\n", "\n")
        found = _MARK.search(plain)
        if found is not None:
            plain = plain[: found.start()]
        for breaking in self.breakings:
            plain = breaking.mended(plain)
        return plain, found[1] if found else None


def new_mark() -> str:
    """A mark that no other text has."""
    return uuid4().hex
