"""What can be said of an app without its board, Prefect and network, before a deploy."""

from __future__ import annotations

import os
import shlex
import shutil
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from athanore.dispatcher import AgentDispatcher
from athanore.errors import AthanoreError
from athanore.launch.inspection.agents import agent_findings
from athanore.launch.inspection.doctor import app_finding, security
from athanore.launch.inspection.findings import Finding, Level, at_route, failed, place
from athanore.routing.routes import Route
from athanore.workspaces.folders import TaskFolders

_PACKAGE = Path(__file__).parents[2]


def validate(reference: str, load: Callable[[str], AgentDispatcher]) -> list[Finding]:
    """Look at an app's code: whether it can be imported, its routes, their agents and checks.

    Nothing is connected to, started or changed, but for what the app's own module does.

    Args:
        reference: the app, as `run.py:dispatcher`.
        load: imports it; what it raises is a finding.
    """
    try:
        dispatcher = load(reference)
    except AthanoreError as exc:
        return [_placed(failed("app", exc), exc)]
    return [
        app_finding(reference, dispatcher),
        *agent_findings(dispatcher),
        *_program_findings(dispatcher),
        security(dispatcher),
    ]


def _placed(finding: Finding, error: AthanoreError) -> Finding:
    """The finding with the line of the user's code that is at fault, if one is known."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not Path(f.filename).is_relative_to(_PACKAGE)]
    own = [f for f in own if Path(f.filename).is_file() and "importlib" not in f.filename]
    if error.__cause__ is not None or not own or own[-1].lineno is None:
        return finding  # it says its place itself, or has none
    where = place(Path(own[-1].filename), own[-1].lineno)
    return replace(finding, says=f"{where}{finding.says}")


def _program_findings(dispatcher: AgentDispatcher) -> Iterator[Finding]:
    """Look at what is run in the folders of tasks, before agents and after them."""
    for route in dispatcher.routes.values():
        checks = [shlex.split(command)[0] for command in route.check]
        for program in _missing(route, checks):
            yield _not_found(route, "check", Level.FAIL, f"{program!r} of its check=")
        hooks = route.workspace.programs() if isinstance(route.workspace, TaskFolders) else {}
        first = next(iter(hooks.get("setup", ())), None)
        for hook, programs in hooks.items():
            for program in _missing(route, programs):
                # What is run after the first command of setup may be there thanks to it.
                level = Level.FAIL if first in (None, program) else Level.WARN
                said = f"{program!r} of its workspace's {hook}="
                yield _not_found(route, "workspace", level, said)


def _not_found(route: Route, what: str, level: Level, said: str) -> Finding:
    finding = Finding(
        what,
        level,
        f"Route {route.name!r}: {said} is not found on PATH.",
        "Install it, or give its path. What only the task's folder has is named by a path "
        "that begins with ./",
    )
    return at_route(finding, route)


def _missing(route: Route, programs: Iterable[str]) -> list[str]:
    """The programs that are not there, as far as that can be seen before."""
    path = route.env.get("PATH", os.environ.get("PATH"))
    named = dict.fromkeys(programs)
    return [p for p in named if "/" not in p and shutil.which(p, path=path) is None]
