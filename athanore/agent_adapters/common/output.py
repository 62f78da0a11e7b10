"""Cut a stream of bytes into lines of text, in bounded memory."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator

from athanore.texts import storable

LINE_LIMIT = 65536
"""Bytes of a line that are kept."""

CUT = f" [cut: line over {LINE_LIMIT} bytes]"
"""What stands at the end of a line that was longer."""

TAIL_LINES = 20
"""How many of the last lines are kept."""


class LineSplitter:
    """Turns chunks of bytes into lines without their newline.

    Bytes that are no UTF-8, and NUL, are replaced, a line over the limit is cut and marked, and a
    last line without a newline comes out of `close`. Of a long line that is drawn again and
    again with carriage returns the last state is kept.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._line = bytearray()
        self._cut = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the lines that end in this chunk."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            if self._line or len(end) > self._limit:
                self._add(end)
                yield self._take()
            else:  # nearly every line
                yield _text(end)
        self._add(rest)

    def close(self) -> Iterator[str]:
        """Yield the last line if no newline ended it."""
        if self._line:
            yield self._take()

    def _add(self, part: bytes) -> None:
        self._line += part
        if len(self._line) > self._limit:
            drawn_again = self._line.rfind(b"\r", 0, len(self._line) - 1)
            if drawn_again >= 0:
                del self._line[: drawn_again + 1]
                self._cut = False
            self._cut |= len(self._line) > self._limit
            del self._line[self._limit :]

    def _take(self) -> str:
        line, cut = bytes(self._line), self._cut
        self._line.clear()
        self._cut = False
        if cut:  # half a character at the cut is left out, not replaced
            return storable(codecs.getincrementaldecoder("utf-8")("replace").decode(line)) + CUT
        return _text(line)


def _text(line: bytes) -> str:
    return storable(line.removesuffix(b"\r").decode("utf-8", "replace"))


class Tail:
    """The last lines of a stream, whole: they are cut when the secrets in them are gone."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        """Remember a line and forget the oldest one."""
        self._lines.append(line)

    def __str__(self) -> str:
        return "\n".join(self._lines).strip()
