"""Texts of people and agents, cleaned where they come in and escaped for where they go.

In: `readable` for what agents write, `kept_readable` where there has to be something of it,
`storable` for what is on the board already. Out: `shown` for a terminal, `as_json` for JSON that a
terminal may show, `markdown` for a line in Prefect's UI, `operand` for an argument. `cut` bounds a
text and says so; `duration` writes one for people. `count` and `amount` are for numbers in what
other programs say.
"""

from __future__ import annotations

import json
import re
from datetime import datetime

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"

# ECMA-48. A string that nothing ends (OSC, DCS, APC, PM, SOS) loses its beginning only. None goes
# on beyond the beginning of the next one, so that many of them take no more than one look each.
SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n\x90\x98\x9d-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
"""A sequence that a terminal obeys and does not show."""

_CONTROL = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f]")
_HAS_CONTROL = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f]|[\x00\ud800-\udfff]")

# Besides control characters those that turn the direction of what follows.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
CUT_AT = re.compile(r"\.\.\. \[\d+ more cut\]| \[cut: line over \d+ bytes\]")
"""What stands where `cut` or a reader of lines has cut a text."""

SHORTEST_SECRET = 8
"""Characters of a secret that is looked for in texts: shorter ones are in every other word."""

_HIGHEST = 2**53
"""Above it floats have gaps, and databases and JSON of other programs no integers."""

_MARKDOWN = re.compile(r"([\\`*_~\[\]<>|#!&])")


def storable(text: str) -> str:
    """The text with U+0000 and lone surrogates replaced by U+FFFD."""
    # PostgreSQL, under Prefect and Planka, takes neither.
    return text if is_storable(text) else _UNSTORABLE.sub(_REPLACEMENT, text)


def is_storable(text: str) -> bool:
    """Tell whether a text has neither U+0000 nor a lone surrogate."""
    return ("\x00" not in text) if text.isascii() else _UNSTORABLE.search(text) is None


def readable(text: str) -> str:
    """What a terminal would show of a text in the end, without colours, and fit to be stored.

    Terminal sequences and other control characters are taken out, but not newlines and tabs. Of a
    line that was drawn again (a progress bar) the last state is left.
    """
    if _HAS_CONTROL.search(text) is None:
        return text
    text = SEQUENCE.sub("", text)
    if "\r" in text:
        text = "\n".join(map(_last_drawn, text.split("\n")))
    if "\b" in text:
        text = _rubbed_out(text)
    return storable(_CONTROL.sub("", text))


def kept_readable(text: str) -> str:
    """The text as `readable` leaves it; if nothing is left of it, all that is no control character.

    So a text in which there is anything to see stays one, whatever a terminal would make of it.
    """
    clean = readable(text)
    return clean if clean.strip() else storable(_CONTROL.sub("", text))


def _last_drawn(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


def _rubbed_out(text: str) -> str:
    kept: list[str] = []
    for character in text:
        if character != "\b":
            kept.append(character)
        elif kept and kept[-1] != "\n":
            kept.pop()
    return "".join(kept)


def shown(text: str) -> str:
    r"""The text as a terminal may show it: nothing in it does anything there but `\n` and `\t`.

    Control characters, those that turn the direction of text, and lone surrogates are written out,
    as in `\x1b`.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def as_json(value: object, indent: int | None = None) -> str:
    """JSON in which each character that `shown` would write out is escaped; times are ISO 8601."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=_value)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def markdown(text: str) -> str:
    """The text on one line for a heading or a table, and no Markdown of its own."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def count(value: object) -> int:
    """A count in the JSON of others; 0 for what is none, such as `1e999`, a text or too many."""
    return int(amount(value))


def amount(value: object) -> float:
    """A number in the JSON of others, kept as it is; 0 for what is none that can be added up."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        return 0
    return value


def is_finite(value: float) -> bool:
    """Tell whether a number can be stored and counted with: it is finite, and fits 53 bits."""
    return -_HIGHEST <= value <= _HIGHEST  # False for NaN


def cut(text: str, limit: int) -> str:
    """At most so many characters of a text; if it had more, that is said at its end."""
    return text if len(text) <= limit else f"{text[:limit]}... [{len(text) - limit} more cut]"


def cut_lines(text: str, width: int, lines: int) -> str:
    """The last so many lines of a text, each cut as `cut` does."""
    return "\n".join(cut(line, width) for line in text.split("\n")[-lines:])


def duration(seconds: float) -> str:
    """A duration in its largest unit that says enough."""
    for unit, size in (("d", 172_800), ("h", 7200), ("min", 120)):
        if seconds >= size:
            return f"{seconds / (size / 2):.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def operand(text: str) -> str:
    """The text as an argument that no program takes for an option.

    A newline is put before a dash at its beginning, because it may be the text of a card.
    """
    return f"\n{text}" if text.startswith("-") else text
