"""Colours in what agents write for a terminal: kept beside the text, which has none.

Only names and places are kept, and only of a text in which nothing was redacted: so nothing hides
in a sequence, and no secret behind one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from athanore.runs.events.shapes import Span
from athanore.texts import SEQUENCE, readable

_STYLE = re.compile(r"(?:\x1b\[|\x9b)([0-9;:]*)m")
_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_LONGEST = 4000
"""Characters of a line whose colours are kept."""

_MOST = 40
"""Spans of a line; a rainbow has none."""

_BUDGET = 1_000_000
"""Characters of a stream in which colours are looked for: that takes time."""

_WAYS = {1: "bold", 2: "dim", 3: "italic", 4: "underline"}
_ENDS = {22: {"bold", "dim"}, 23: {"italic"}, 24: {"underline"}}
_INK, _NO_INK = 38, 39
_OF_MANY = frozenset({_INK, 48, 58})  # of the ground and of the underline they are not kept
_CUBE = (0, 95, 135, 175, 215, 255)


@dataclass(frozen=True, slots=True)
class _Style:
    """How a terminal would show the next character."""

    colour: str = ""
    ways: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """The names of what it is, with spaces between."""
        return " ".join(filter(None, (self.colour, *sorted(self.ways))))


class Painter:
    """Finds the colours of one stream; a colour lasts until another one is set.

    Args:
        budget: characters of the stream in which they are looked for.
    """

    def __init__(self, budget: int = _BUDGET) -> None:
        self._style = _Style()
        self._left = budget

    def spans(self, raw: str, clean: str) -> list[Span]:
        """Where the parts of a text are that have a style; none, where that is not known for sure.

        Args:
            raw: as the agent wrote it.
            clean: as it is shown, without sequences and secrets.
        """
        if self._style == _Style() and "\x1b" not in raw and "\x9b" not in raw:
            return []
        self._left -= len(raw)
        if len(raw) > _LONGEST or self._left < 0:
            self._style = _Style()
            return []
        cells = self._cells(raw)
        if "".join(character for character, _ in cells) != clean:
            return []
        found: list[Span] = []
        place = 0
        for style, some in groupby(cells, key=lambda cell: cell[1]):
            length = len(list(some))
            if style != _Style():
                found.append({"start": place, "length": length, "style": str(style)})
            place += length
        return found if len(found) <= _MOST else []

    def _cells(self, raw: str) -> list[tuple[str, _Style]]:
        """What is seen of a text in the end; see `texts.readable`."""
        cells: list[tuple[str, _Style]] = []
        line, returned = 0, False
        for character, style in self._characters(raw):
            if character == "\r":
                returned = True
                continue
            if returned and character != "\n":
                del cells[line:]
            returned = False
            if character == "\b":
                del cells[max(line, len(cells) - 1) :]
            else:
                cells.append((character, style))
            if character == "\n":
                line = len(cells)
        return [(seen, style) for character, style in cells if (seen := _seen(character))]

    def _characters(self, raw: str) -> Iterator[tuple[str, _Style]]:
        place = 0
        for sequence in SEQUENCE.finditer(raw):
            yield from ((c, self._style) for c in raw[place : sequence.start()])
            place = sequence.end()
            if found := _STYLE.fullmatch(sequence[0]):
                self._style = _changed(self._style, found[1])
        yield from ((c, self._style) for c in raw[place:])


def _seen(character: str) -> str:
    return character if " " <= character < "\x7f" else readable(character)


def _changed(style: _Style, parameters: str) -> _Style:
    """The style after a sequence that sets some (SGR of ECMA-48)."""
    codes = iter(parameters.split(";"))
    for text in codes:
        code, *more = (_number(part) for part in text.split(":"))
        if code in _OF_MANY:
            colour = _of_many(more[:1] + more[-3:] if more else _following(codes))
            style = replace(style, colour=colour) if code == _INK else style
        elif code in _WAYS and more != [0]:
            style = replace(style, ways=style.ways | {_WAYS[code]})
        elif code in _WAYS:  # 4:0, no underline
            style = replace(style, ways=style.ways - {_WAYS[code]})
        elif code in _ENDS:
            style = replace(style, ways=style.ways - _ENDS[code])
        elif code == _NO_INK:
            style = replace(style, colour="")
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, colour=_NAMES[code % 10])
        elif code == 0:
            style = _Style()
    return style


def _following(codes: Iterator[str]) -> list[int]:
    """What follows a code for one of many colours: how it is given, and which it is."""
    kind = _number(next(codes, ""))
    count = {5: 1, 2: 3}.get(kind, 0)
    return [kind, *(_number(next(codes, "")) for _ in range(count))]


def _number(text: str) -> int:
    """A parameter; 0 where it is left out, or none that a terminal knows."""
    return int(text) if text.isdecimal() and len(text) < 4 else 0


def _of_many(given: list[int]) -> str:
    """The nearest of the eight names for one of 256 colours, or of all."""
    match given:
        case [2, red, green, blue]:
            return _nearest((red, green, blue))
        case [5, *_, number] if number < 16:
            return _NAMES[number % 8]
        case [5, *_, number] if number >= 232:
            return _nearest([8 + 10 * (number - 232)] * 3)
        case [5, *_, number]:
            cube = number - 16
            return _nearest(_CUBE[n % 6] for n in (cube // 36, cube // 6, cube))
        case _:
            return ""


def _nearest(parts: Iterable[int]) -> str:
    red, green, blue = (part > 110 for part in parts)
    return _NAMES[red + 2 * green + 4 * blue]
