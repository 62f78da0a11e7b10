"""The kinds of options: what each takes and keeps, its rule, and its type in JSON.

The types of an option stand in its annotation, so these functions return Any.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from operator import ge, le
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, StringConstraints

from athanore.routing.options.option import Hint, Inherit, Kind, Option, Seconds

_YEAR = 366 * 86400
_MOST_MONEY = 1e9

# No program and no database can be given a NUL.
type JsonText = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
# Something to be seen, as in `athanore.api.models`.
type QueueName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=500, pattern=r"^[^\x00]*[^\s\x00-\x1f\x85][^\x00]*$"
    ),
]
type _Variables = dict[
    Annotated[str, StringConstraints(min_length=1, pattern=r"^[^=\x00]*$")], JsonText
]


type _Limits = dict[
    QueueName, Annotated[int, BeforeValidator(lambda v: _whole(v)), Field(ge=1, le=1_000_000)]
]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        raise Hint(str(value.split()))
    return tuple(_text(word) for word in cast(Sequence[object], value))


def _commands(value: object) -> tuple[str, ...]:
    given = () if value is None else (value,) if isinstance(value, str) else _words(value)
    for command in given:
        try:
            found = shlex.split(command)
        except ValueError as exc:
            raise Hint(f"{command!r} cannot be split into words: {exc}") from None
        if not found:
            raise Hint(f"{command!r} names no program")
    return given


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    return timedelta(seconds=_number(value))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


def _whole(value: object) -> object:
    """JSON knows one kind of number: 3.0 is an integer in its schemas."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _folder(value: object) -> Path:
    return Path(cast(str, value)).expanduser()


def _variables(value: Mapping[str, str] | None) -> dict[str, str]:
    given = dict(value or {})
    return {_text(name): _text(said) for name, said in given.items()}


def _limits(value: Mapping[str, int] | None) -> dict[str, int]:
    given = {_text(name): _count(most) for name, most in dict(value or {}).items()}
    if not all(name.strip() and most >= 1 for name, most in given.items()):
        raise ValueError
    return given


def _some_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _has_a_name_or_none(kept: str | None) -> bool:
    return kept is None or bool(kept.strip())


def _is_a_word_or_none(kept: str | None) -> bool:
    return kept is None or bool(kept and not set(kept) & set(" ,\t\n"))


def _or_nothing(value: object) -> str | None:
    return _text(value) or None


def _has_a_name(kept: str | None) -> bool:
    return bool(kept and kept.strip())


def _positive(kept: timedelta) -> bool:
    return kept > timedelta(0)


def _is_money(kept: float) -> bool:
    return 0 < kept < math.inf


def _not_negative(kept: timedelta) -> bool:
    return kept >= timedelta(0)


def _whole_number(low: int, high: int) -> Any:
    return Annotated[int, Field(ge=low, le=high), BeforeValidator(_whole)]


def _option(
    kind: Kind, default: Any, *rules: tuple[Callable[[Any], bool], str], **more: Any
) -> Any:
    return Option[Any, Any](kind, default, *rules, **more)


def text(default: str | None = None, **more: Any) -> Any:
    """An option that is a text."""
    return _option(Kind(keep=_text, expects="a text", sent=JsonText, shown=str), default, **more)


def label(**more: Any) -> Any:
    """An option that is what the route is called; None until its queue is known."""
    kind = Kind(keep=_some_text, expects="a text", sent=QueueName, shown=str)
    return _option(kind, None, (_has_a_name_or_none, "must not be empty"), **more)


def word(**more: Any) -> Any:
    """An option that is one word without blanks and commas, or None."""
    kind = Kind(keep=_some_text, expects="a word", sent=JsonText, shown=str)
    return _option(kind, None, (_is_a_word_or_none, "must be one word"), none=True, **more)


QUEUE = Kind(keep=_or_nothing, expects="the name of a queue", sent=QueueName, shown=str)
"""The kind of options that name queues of the board."""


def queue(default: str | None = None, **more: Any) -> Any:
    """An option that names a queue of the board; without `none=True` there must be one."""
    rules = () if more.get("none") else ((_has_a_name, "must not be empty"),)
    return _option(QUEUE, default, *rules, **more)


def words(*, python_only: bool = False, of: Sequence[str] = (), **more: Any) -> Any:
    """An option that is a list of words.

    Args:
        python_only: it cannot be sent.
        of: what may be sent, if not any word.
    """
    sent: Any = None if python_only else list[JsonText]
    if of:
        pattern = rf"^({'|'.join(map(re.escape, of))})$"
        sent = list[Annotated[str, StringConstraints(pattern=pattern)]]
    kind = Kind(keep=_words, expects="a list of words", sent=sent, shown=list[str], show=list)
    return _option(kind, (), **more)


def commands(**more: Any) -> Any:
    """An option that is a command, or a list of them; each has to be more than spaces."""
    kind = Kind(
        keep=_commands,
        expects="a command, or a list of commands",
        sent=list[JsonText],
        shown=list[str],
        show=list,
    )
    return _option(kind, (), **more)


def duration(default: Seconds | Inherit | None = None, *, zero: bool = False, **more: Any) -> Any:
    """An option that is a time: more than 0 seconds, or with `zero` also 0."""
    kind = Kind(
        keep=_duration,
        expects="a number of seconds or a timedelta",
        sent=Annotated[float, Field(ge=0 if zero else 0.1, le=_YEAR, allow_inf_nan=False)],
        shown=float,
        show=timedelta.total_seconds,
    )
    shortest = (_not_negative, "must be 0 seconds or more")
    rule = shortest if zero else (_positive, "must be more than 0 seconds")
    return _option(kind, default, rule, **more)


def count(
    default: int | Inherit | None = None, *, least: int = 0, most: int = 10_000, **more: Any
) -> Any:
    """An option that is a number of things; over HTTP `most` at most."""
    kind = Kind(keep=_count, expects="a whole number", sent=_whole_number(least, most), shown=int)
    rule = "must be 0 or more" if least == 0 else f"must be at least {least}"
    return _option(kind, default, (partial(le, least), rule), **more)


def choice(*words: str, **more: Any) -> Any:
    """An option that is one of some words, or none."""

    def keep(value: object) -> str:
        if value not in words:
            raise TypeError
        return cast(str, value)

    listed = " or ".join(repr(word) for word in words)
    sent = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(map(re.escape, words))})$")]
    kind = Kind(keep=keep, expects=listed, sent=sent, shown=str)
    return _option(kind, None, none=True, **more)


def switch(default: bool = False, **more: Any) -> Any:
    """An option that is on or off."""
    kind = Kind(keep=_switch, expects="True or False", sent=bool, shown=bool)
    return _option(kind, default, **more)


def rank(**more: Any) -> Any:
    """An option that is a place in an order."""
    sent = _whole_number(-1_000_000, 1_000_000)
    kind = Kind(keep=_count, expects="a whole number", sent=sent, shown=int)
    return _option(kind, None, none=True, **more)


def number(default: float, low: float, high: float, **more: Any) -> Any:
    """An option that is a number between two others, or one of them."""
    sent = Annotated[float, Field(ge=low, le=high)]
    kind = Kind(keep=_number, expects="a number", sent=sent, shown=float)
    rule = f"must be from {low:g} to {high:g}"
    return _option(kind, default, (partial(le, low), rule), (partial(ge, high), rule), **more)


def amount(default: float | Inherit | None = None, **more: Any) -> Any:
    """An option that is an amount of money, more than 0."""
    sent = Annotated[float, Field(gt=0, le=_MOST_MONEY, allow_inf_nan=False)]
    kind = Kind(keep=_number, expects="a number", sent=sent, shown=float)
    return _option(kind, default, (_is_money, "must be more than 0"), **more)


def folder(**more: Any) -> Any:
    """An option that is a folder."""
    kind = Kind(keep=_folder, expects="a path", sent=JsonText, shown=str, show=str)
    return _option(kind, None, none=True, **more)


def variables(**more: Any) -> Any:
    """An option that is variables of the environment; answers show their names only."""
    kind = Kind(
        keep=_variables,
        expects="names and values, such as {'LANG': 'C'}",
        sent=_Variables,
        shown=list[str],
        show=sorted,
    )
    return _option(kind, None, **more)


def limits(**more: Any) -> Any:
    """An option that has a number of at least 1 for each of some labels."""
    kind = Kind(
        keep=_limits,
        expects="labels and whole numbers of at least 1, such as {'repo:big': 1}",
        sent=_Limits,
        shown=dict[str, int],
        show=dict,
    )
    return _option(kind, None, **more)


def thing(
    expects: str,
    default: Inherit | None = None,
    *,
    is_it: Callable[[object], bool] = lambda value: True,
    **more: Any,
) -> Any:
    """An option that is an object of Python, so that it cannot be sent; None if there is none.

    Args:
        is_it: tells whether a value is such an object.
    """

    def keep(value: object) -> object:
        if not is_it(value):
            raise TypeError
        return value

    kind = Kind(keep=keep, expects=expects, sent=None, shown=str)
    return _option(kind, default, none=True, **more)
