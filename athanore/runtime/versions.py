"""Which version of an app a deployment, a run or a worker has."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

from athanore.dispatcher import AgentDispatcher
from athanore.version import __version__

_DEPTH = 4  # objects within objects; some know the app, and so themselves
_SECRET = re.compile(r"(.*_)?(key|token|secret|password|credentials?)", re.IGNORECASE)


def app_version(dispatcher: AgentDispatcher) -> str:
    """Athanore's version and a short hash of the app's routes: `0.1.0+3fa94c21`.

    The same code gives the same version on every host; a changed route, prompt function, limit or
    argument of an agent gives another one. What may be a secret does not count: the values of
    `env`, and arguments that are called so (`api_key`).
    """
    parts = [dispatcher.name, str(dispatcher.settings.max_concurrent_agents)]
    for route in dispatcher.routes.values():
        options = {f.name: getattr(route, f.name) for f in fields(route)}
        options["agent"] = route.agent or dispatcher.default_agent
        parts.append(_named(options))
    for schedule in dispatcher.schedules.values():
        parts.append(_named({f.name: getattr(schedule, f.name) for f in fields(schedule)}))
    return f"{__version__}+{hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:8]}"


def described(value: object) -> str:
    """A value in words that are the same in every process; what may be a secret is left out."""
    return _described(value, _DEPTH)


def _named(values: Mapping[str, object], depth: int = _DEPTH) -> str:
    """Describe options or arguments by their names."""
    said: list[str] = []
    for name, value in values.items():
        if name == "env" and isinstance(value, Mapping):
            value = sorted(str(key) for key in cast(Mapping[object, object], value))
        if not _SECRET.fullmatch(name):
            said.append(f"{name}={_described(value, depth)}")
    return ", ".join(said)


def _described(value: object, depth: int) -> str:
    """Describe a value alike in every process: never by an address or in a random order."""

    def each(values: object) -> list[str]:
        return [_described(v, depth) for v in cast(Iterable[object], values)]

    match value:
        case None | bool() | int() | float() | str() | bytes() | timedelta() | Path():
            return repr(value)
        case Mapping():
            return str(sorted(each(cast(Mapping[object, object], value).items())))
        case list() | tuple():
            return str(each(cast(object, value)))
        case Set():
            return str(sorted(each(cast(object, value))))
        case partial():
            return str(each((value.func, value.args, value.keywords)))
        case _ if inspect.isroutine(value) or inspect.isclass(value):
            return _source(value)
        case _:
            said = _named(dict(_arguments(value)), depth - 1) if depth else ""
            return f"{type(value).__qualname__}({said})"


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return str(getattr(function, "__qualname__", function))


def _arguments(thing: object) -> Iterator[tuple[str, object]]:
    """What an object was made with, as far as it keeps that: as `name` or as `_name`."""
    if is_dataclass(thing):
        yield from ((f.name, getattr(thing, f.name)) for f in fields(thing) if f.repr)
        return
    kept: dict[str, object] = getattr(thing, "__dict__", {})
    try:
        parameters = inspect.signature(type(thing)).parameters
    except (TypeError, ValueError):
        return
    for name in parameters:
        for attribute in (name, f"_{name}"):
            if attribute in kept:
                yield name, kept[attribute]
                break
