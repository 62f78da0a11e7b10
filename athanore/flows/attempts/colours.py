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

_MOST = 100
"""Spans of a line; a rainbow has none."""

_CUBE = (0, 95, 135, 175, 215, 255)


@dataclass(frozen=True, slots=True)
class _Style:
    """How a terminal would show the next character."""

    colour: str = ""
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False

    def __str__(self) -> str:
        """The names of what it is, with spaces between."""
        ways = ("bold", "dim", "italic", "underline")
        return " ".join(filter(None, (self.colour, *(way for way in ways if getattr(self, way)))))


class Painter:
    """Finds the colours of one stream; a colour lasts until another one is set."""

    def __init__(self) -> None:
        self._style = _Style()

    def spans(self, raw: str, clean: str) -> list[Span]:
        """Where the parts of a text are that have a style; none, where that is not known for sure.

        Args:
            raw: as the agent wrote it.
            clean: as it is shown, without sequences and secrets.
        """
        if len(raw) > _LONGEST:
            self._style = _Style()
            return []
        if self._style == _Style() and "\x1b" not in raw and "\x9b" not in raw:
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
        return [(seen, style) for character, style in cells if (seen := readable(character))]

    def _characters(self, raw: str) -> Iterator[tuple[str, _Style]]:
        place = 0
        for sequence in SEQUENCE.finditer(raw):
            yield from ((c, self._style) for c in raw[place : sequence.start()])
            place = sequence.end()
            if found := _STYLE.fullmatch(sequence[0]):
                self._style = _changed(self._style, found[1])
        yield from ((c, self._style) for c in raw[place:])


def _changed(style: _Style, parameters: str) -> _Style:
    """The style after a sequence that sets some (SGR of ECMA-48)."""
    codes = iter([int(p) if p else 0 for p in parameters.replace(":", ";").split(";")])
    for code in codes:
        match code:
            case 0:
                style = _Style()
            case 1:
                style = replace(style, bold=True)
            case 2:
                style = replace(style, dim=True)
            case 3:
                style = replace(style, italic=True)
            case 4:
                style = replace(style, underline=True)
            case 22:
                style = replace(style, bold=False, dim=False)
            case 23:
                style = replace(style, italic=False)
            case 24:
                style = replace(style, underline=False)
            case 38:
                style = replace(style, colour=_of_many(codes))
            case 48:
                _of_many(codes)  # backgrounds are not kept
            case _ if 30 <= code <= 37 or 90 <= code <= 97:
                style = replace(style, colour=_NAMES[code % 10])
            case 39:
                style = replace(style, colour="")
            case _:
                pass
    return style


def _of_many(codes: Iterator[int]) -> str:
    """The nearest of the eight names for one of 256 colours, or of all."""
    kind = next(codes, 0)
    if kind == 2:
        return _nearest([next(codes, 0) for _ in range(3)])
    number = next(codes, 0) if kind == 5 else 0
    if number < 16:
        return _NAMES[number % 8] if kind == 5 else ""
    if number >= 232:
        return _nearest([8 + 10 * (number - 232)] * 3)
    cube = number - 16
    return _nearest(_CUBE[n % 6] for n in (cube // 36, cube // 6, cube))


def _nearest(parts: Iterable[int]) -> str:
    red, green, blue = (part > 110 for part in parts)
    return _NAMES[red + 2 * green + 4 * blue]
