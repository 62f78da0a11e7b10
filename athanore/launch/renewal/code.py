"""The code of an app that is at work: whether its files have changed, and what they say now."""

from __future__ import annotations

import difflib
import importlib.util
import logging
import os
import stat
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from athanore.agent_adapters.common.by_task import is_agent_function
from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError
from athanore.routing.options import shown
from athanore.routing.routes import Route
from athanore.runtime.versions import described

logger = logging.getLogger("athanore")

_SHOWN_LINES = 12


def read_code(file: Path) -> dict[Path, str]:
    """The texts of the app's file, and of the modules beside it that it has imported."""
    return {path: _text(path) for path in _files(file)}


def _files(file: Path) -> list[Path]:
    found = {file, *(Path(m.__file__) for m in _beside(file.parent).values() if m.__file__)}
    return sorted(found)


def changed_lines(before: Mapping[Path, str], now: Mapping[Path, str]) -> list[str]:
    """The lines that were taken out and put in, each with `-` or `+` before it; some of many."""
    lines: list[str] = []
    for path, text in now.items():
        old = before.get(path, "")
        diff = difflib.unified_diff(old.splitlines(), text.splitlines(), n=0, lineterm="")
        lines += [line for line in list(diff)[2:] if not line.startswith("@@")]
    if len(lines) > _SHOWN_LINES:
        return [*lines[:_SHOWN_LINES], f"and {len(lines) - _SHOWN_LINES} lines more"]
    return lines


def check_auto(file: Path, *, insecurely: bool = False) -> None:
    """Refuse to have changed code taken over by itself where agents can change it.

    Ask again before each time: the code may have imported another module since, and its files may
    have another owner.

    Args:
        file: the app's; the modules beside it and below are its code, too.
        insecurely: the user has accepted that they can; it is only said.

    Raises:
        ConfigurationError: they can.
    """
    if (why := _writable(file)) is None:
        return
    if insecurely:
        logger.warning(
            "%s is taken over by itself, and %s: what an agent writes there gets the worker's "
            "rights.",
            file.name,
            why,
            extra={"action": "reload_insecure"},
        )
    else:
        raise ConfigurationError(
            f"reload='auto' is refused: {why}, and what they write there would get the worker's "
            "rights. Leave it out, and take changes over by the key r or `athanore reload`; run "
            "the app as a user that can write neither its code nor the folders in which that is; "
            "or, where you trust your agents with that, say reload='auto-insecurely'."
        )


def _writable(file: Path) -> str | None:
    """Say why agents, which run as this process's user, can change the code; None if they cannot.

    Who can write a folder can put another file, or another folder, in the place of what is in it.
    In one that is sticky, such as /tmp, they can do that with their own only; but beside the code
    they could put a module there that it imports.
    """
    code = _files(file)
    places = {place for path in code for place in _places(path)}
    beside = {folder for path in code for folder in (path.parent, path.resolve().parent)}
    for path in sorted(places):
        try:
            found = os.stat(path)
        except OSError:
            continue  # it is not there, or we cannot reach it; its folders are looked at, too
        if found.st_uid == os.geteuid():
            return f"{path} belongs to the user that agents run as"
        is_sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if (path in beside or not is_sticky) and os.access(path, os.W_OK):
            return f"{path} can be written by the user that agents run as"
    return None


def _places(path: Path) -> set[Path]:
    """A file of code, what Python keeps of it compiled, and all folders above, links followed."""
    found = {path.resolve(), Path(importlib.util.cache_from_source(path))}
    while path not in found:  # each link of a chain may be pointed elsewhere
        found.add(path)
        path = _next_link(path)
    return {place for each in found for place in (each, *each.parents)}


def _next_link(path: Path) -> Path:
    """Follow the first link in a path, once; the path itself if there is none."""
    for place in (*reversed(path.parents), path):
        if place.is_symlink():
            return place.parent / place.readlink() / path.relative_to(place)
    return path


def load_anew(reference: str, file: Path) -> AgentDispatcher:
    """Run the app's file anew, and the modules beside it, in place of what was imported before.

    If it fails, what was imported before stays.

    Raises:
        ConfigurationError: it fails; the message says where and why.
    """
    location, _, attribute = reference.partition(":")
    name = f"athanore_app_{file.stem}" if location.endswith(".py") else location
    before = {**_beside(file.parent), **({name: sys.modules[name]} if name in sys.modules else {})}
    for module in before:
        del sys.modules[module]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    importlib.invalidate_caches()
    try:
        spec.loader.exec_module(module)
        found = getattr(module, attribute, None)
        if not isinstance(found, AgentDispatcher):
            raise ConfigurationError(f"{location} has no AgentDispatcher called {attribute!r}.")
    except BaseException as exc:
        for other in {name, *_beside(file.parent)}:
            sys.modules.pop(other, None)
        sys.modules.update(before)
        if isinstance(exc, KeyboardInterrupt):
            raise
        raise ConfigurationError(explained(exc, file)) from exc
    return found


def _beside(folder: Path) -> dict[str, ModuleType]:
    """The imported modules that are files in a folder or below it, without those of packages.

    Texts are compared, not paths: there are thousands of modules, and this is done every second.
    """
    found: dict[str, ModuleType] = {}
    below = os.path.join(folder, "")
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not file or not file.startswith(below):
            continue
        if file.endswith(".py") and not _is_installed(file.removeprefix(below).split(os.sep)):
            found[name] = module
    return found


def _is_installed(parts: Sequence[str]) -> bool:
    """Whether a file is of an environment or of Athanore itself, by the parts of its path."""
    return "site-packages" in parts or parts[0] == "athanore" or parts[0].startswith(".")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def explained(error: BaseException, file: Path) -> str:
    """Say where in an app's code something failed, and how.

    Args:
        file: the app's; what is beside it and below is its code, too.
    """
    return _place(error, file) + _says(error)


def _place(error: BaseException, file: Path) -> str:
    """Where in the user's code an error is, to begin a message with."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{Path(error.filename).name}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(file.parent)]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}: " if own else ""


def _says(error: BaseException) -> str:
    if isinstance(error, ConfigurationError):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}".rstrip(": ") + "."


def differences(before: Mapping[str, Route], now: Mapping[str, Route]) -> list[str]:
    """What is different about the routes of two versions of the code, a line each."""
    said: list[str] = []
    for name, route in now.items():
        if name not in before:
            said.append(f"route {name!r} is new")
            continue
        old, new = _options(before[name]), _options(route)
        said += [
            f"route {name!r}: {option} {old[option]} -> {value}"
            for option, value in new.items()
            if value != old[option]
        ]
        if _code(before[name].agent) != _code(route.agent) and old["agent"] == new["agent"]:
            said.append(f"route {name!r}: another function of agent=")
        if _code(before[name].prompt) != _code(route.prompt):
            said.append(f"route {name!r}: another prompt")
    return said


def _options(route: Route) -> dict[str, str]:
    chosen = route.agent is None or is_agent_function(route.agent)
    agent = "" if chosen else described(route.agent)
    return {**{k: repr(v) for k, v in shown(route).items()}, "agent": agent or route.describe()}


def _code(function: object) -> object:
    """What a function does, wherever it stands."""
    code = getattr(function, "__code__", None)
    if code is None:
        return described(function)
    constants = [c for c in code.co_consts if not hasattr(c, "co_code")]
    return code.co_code, constants, code.co_names
