"""How an option of a route is written down, once: its types, its default, and its other forms.

A class of options (`athanore.routing.routes.RouteOptions`) is a frozen dataclass of such fields:

    timeout: Option[Seconds | Inherit | None, timedelta | None] = duration(INHERIT, none=True)
    \"\"\"How long an attempt may take; `None` means no limit.

    More is said here.\"\"\"

The first type is what may be given, the second what is kept. The arguments of a decorator, the
models of the API, the columns of a table and the page in the documentation are made from that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import Enum
from functools import cache, wraps
from typing import Any, Concatenate, Final, Literal, cast, overload

from athanore.errors import RouteError, unknown_option
from athanore.settings import Settings


class _Sentinel(Enum):
    INHERIT = "INHERIT"
    NO_DEAD_LETTER = "NO_DEAD_LETTER"

    def __repr__(self) -> str:
        return self.value


type Inherit = Literal[_Sentinel.INHERIT]
type NoDeadLetter = Literal[_Sentinel.NO_DEAD_LETTER]
type Seconds = float | timedelta

INHERIT: Final = _Sentinel.INHERIT
"""The value of an option that was not given: the dispatcher's, or the settings'."""

NO_DEAD_LETTER: Final = _Sentinel.NO_DEAD_LETTER
"""Switches a global `dead_letter_queue` off for one route."""


def itself(value: Any) -> Any:
    """Return what is given, for options that keep it."""
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What options of one kind have in common.

    Attributes:
        keep: makes what is kept of what was given. ValueError or TypeError: it is none of these.
        expects: says what may be given, for the error.
        sent: the type of the option in requests over HTTP; None: it cannot be sent.
        shown: the type in answers.
        show: makes what answers show of what is kept.
    """

    keep: Callable[[Any], Any]
    expects: str
    sent: Any
    shown: Any
    show: Callable[[Any], Any] = itself


class Hint(ValueError):
    """What may have been meant by a value that is not of its kind."""


class Option[Given, Kept]:
    """One option: a field of a dataclass that takes `Given` and keeps `Kept`.

    Attributes:
        name: the field's.
        default: what counts when it is not given.
        kind: what options of its kind have in common.
        inherits: the argument of the dispatcher that counts if the option has its default.
        otherwise: what counts where there is no dispatcher; by default the setting's default.
        none: None may be kept.
        no: what `false` over HTTP stands for, where it means something.
        column: the heading of its column in tables; "" if it has none.
        empty: what such a table says for None.
    """

    def __init__(
        self,
        kind: Kind,
        default: Given,
        *rules: tuple[Callable[[Kept], bool], str],
        inherits: str = "",
        otherwise: object = None,
        none: bool = False,
        no: object = None,
        column: str = "",
        empty: str = "",
    ) -> None:
        self.kind = kind
        self.default = default
        self.inherits = inherits
        self.otherwise = otherwise
        self.none = none
        self.no = no
        self.column = column
        self.empty = empty
        self._rules = rules

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, obj: None, owner: type) -> Given: ...
    @overload
    def __get__(self, obj: object, owner: type) -> Kept: ...
    def __get__(self, obj: object | None, owner: type) -> Given | Kept:
        if obj is None:
            return self.default  # a dataclass reads its defaults so
        value = vars(obj)[self.name]
        if self.is_inherited(value):
            value = self.otherwise
            if value is None and self.inherits in Settings.model_fields:
                value = Settings.model_fields[self.inherits].default
            return self._kept(obj, value)
        return cast(Kept, None if self._is_no(value) else value)

    def __set__(self, obj: object, value: Given) -> None:
        vars(obj)[self.name] = (
            value if self.is_inherited(value) or self._is_no(value) else self._kept(obj, value)
        )

    @property
    def null_counts(self) -> bool:
        """True where null over HTTP is a value, and not the absence of one."""
        return self.none and not (self.inherits and self.default is None)

    def is_inherited(self, value: object) -> bool:
        """Tell whether a value stands for the dispatcher's."""
        return bool(self.inherits) and value is self.default

    def _is_no(self, value: object) -> bool:
        return self.no is not None and value is self.no

    def shown(self, kept: object) -> object:
        """What answers over HTTP show of a kept value."""
        return None if kept is None else self.kind.show(kept)

    def _kept(self, obj: object, value: object) -> Kept:
        if value is None and self.none:
            return cast(Kept, None)
        try:
            kept = self.kind.keep(value)
        except (TypeError, ValueError, OverflowError) as exc:
            hint = f": {exc}" if isinstance(exc, Hint) else ""
            raise self._wrong(obj, value, f"must be {self.kind.expects}{hint}") from None
        for holds, rule in self._rules:
            if not holds(kept):
                raise self._wrong(obj, value, rule)
        return kept

    def _wrong(self, obj: object, value: object, rule: str) -> RouteError:
        said = value.total_seconds() if isinstance(value, timedelta) else value
        kept = vars(obj)
        route = kept.get("name") or kept.get("queue_name", "")
        return RouteError(f"Route {route!r}: {self.name}={said!r} {rule}.")


type Options = Mapping[str, Option[Any, Any]]


@cache
def options_of(schema: type) -> Options:
    """The options of a class, by name, in the order in which they are written down."""
    declared = {n: v for base in reversed(schema.__mro__) for n, v in vars(base).items()}
    names = [f.name for f in fields(schema)]
    return {n: declared[n] for n in names if isinstance(declared.get(n), Option)}


def shown(options: object) -> dict[str, Any]:
    """All options of a route that can be sent, as answers over HTTP show them."""
    found = options_of(type(options))
    return {n: o.shown(getattr(options, n)) for n, o in found.items() if o.kind.sent is not None}


def takes[**P, Self, R](
    schema: Callable[P, Any],
) -> Callable[[Callable[[Self, Any], R]], Callable[Concatenate[Self, P], R]]:
    """Have a method take the options of a class as its arguments; it is given them as one object.

    Type checkers, `help` and `inspect.signature` see the single arguments.
    """

    def decorate(method: Callable[[Self, Any], R]) -> Callable[Concatenate[Self, P], R]:
        @wraps(method)
        def taking(self: Self, *args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in signature.parameters:
                    raise unknown_option(f"A {method.__name__}", name, signature.parameters)
            return method(self, schema(*args, **kwargs))

        first, *_ = inspect.signature(method).parameters.values()
        signature = inspect.signature(schema)
        given = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        taking.__dict__["__signature__"] = signature.replace(
            parameters=[first, *given], return_annotation=signature.empty
        )
        return taking

    return decorate
