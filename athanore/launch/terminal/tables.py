"""Tables that fit the screen: each row one line there, and everything in it in a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_GAP = 2
_EDGES = 2
_LEAST, _LEAST_OF_LAST = 12, 16
"""A column that would be narrower than this says nothing any more; the last that is cut, a name."""
_FEW = 6
"""A column that would be narrower than this is left out, where others are kept."""
_WRAPPED = 40
"""So much a column that wraps is given before others are cut."""


class FittedTable:
    """Rows under headings, drawn as wide as the screen allows.

    On a screen, columns in which nothing stands are left out, and longer cells end in an ellipsis:
    first those of the columns that may be cut, in their order, down to a few characters; then these
    columns are left out, but for the last one of them; then those that are not kept are cut
    further, and left out; then the widest are cut. Elsewhere all is written out.

    Args:
        cut: the columns that may be cut first.
        keep: the columns that are cut only where no others are left.
        wraps: the column that has to be read whole: it takes as many lines as it needs, and has
            what the others leave.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Text]],
        *,
        cut: Sequence[str] = (),
        keep: Sequence[str] = (),
        wraps: str | None = None,
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._cut = cut
        self._keep = keep
        self._wraps = wraps
        self._widths = [
            max([cell_len(c), *(_width(row[n]) for row in rows)]) for n, c in enumerate(columns)
        ]

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.is_terminal:
            yield self._drawn(self._fitted(options.max_width))
            return
        everything = dict(enumerate(self._widths))
        whole = options.update_width(_room(everything.values()))
        yield from console.render(self._drawn(everything), whole)

    def _fitted(self, room: int) -> dict[int, int]:
        """The width of each column that is shown, by its number."""
        shown = {
            n: width
            for n, width in enumerate(self._widths)
            if any(row[n].plain.strip() for row in self._rows) or not self._rows
        }
        wraps = None if self._wraps is None else self._columns.index(self._wraps)
        if wraps in shown:
            shown[wraps] = min(shown[wraps], _WRAPPED)
        cut = [n for name in self._cut if (n := self._columns.index(name)) in shown]
        for number in cut:
            least = _LEAST_OF_LAST if number == cut[-1] else _LEAST
            needed = shown[number] - max(0, _room(shown.values()) - room)
            shown[number] = max(min(shown[number], least), needed)
        for number in cut[:-1]:
            if _room(shown.values()) > room:
                del shown[number]
        if self._keep:
            self._leave_out(shown, cut, room)
        while _room(shown.values()) > room and max(shown.values()) > 1:
            shown[max(shown, key=lambda n: shown[n])] -= 1
        # What is left is for those that were cut, the last of them first.
        for number in [n for n in (wraps, *reversed(cut)) if n in shown]:
            spare = max(0, room - _room(shown.values()))
            shown[number] = min(self._widths[number], shown[number] + spare)
        return shown

    def _leave_out(self, shown: dict[int, int], cut: Sequence[int], room: int) -> None:
        """Cut columns that are not kept, or leave them out; those that may be cut come last."""
        others = [n for n in shown if self._columns[n] not in self._keep]
        for number in sorted(others, key=lambda n: n in cut):
            if (lack := _room(shown.values()) - room) <= 0:
                return
            if shown[number] - lack >= _FEW:
                shown[number] -= lack
            else:
                del shown[number]

    def _drawn(self, widths: dict[int, int]) -> Table:
        gap = (0, _GAP - 1, 0, 0)
        found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=gap, header_style="bold")
        for number, width in widths.items():
            wraps = self._columns[number] == self._wraps
            overflow = "fold" if wraps else "ellipsis"
            name = self._columns[number]
            found.add_column(name, width=width, no_wrap=not wraps, overflow=overflow)
        for row in self._rows:
            found.add_row(*(row[number] for number in widths))
        return found


def _room(widths: Iterable[int]) -> int:
    widths = list(widths)
    return sum(widths) + _GAP * (len(widths) - 1) + _EDGES


def _width(text: Text) -> int:
    return max((cell_len(line) for line in text.plain.split("\n")), default=0)
