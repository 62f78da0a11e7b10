"""What can be said of an app without its board, Prefect and network, before a deploy."""

from __future__ import annotations

import os
import shlex
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from athanore.dispatcher import AgentDispatcher
from athanore.errors import AthanoreError
from athanore.launch.inspection.doctor import agent_findings, app_finding, security
from athanore.launch.inspection.findings import Finding, Level, failed
from athanore.routing.routes import Route

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
        *_check_findings(dispatcher),
        security(dispatcher),
    ]


def _placed(finding: Finding, error: AthanoreError) -> Finding:
    """The finding with the line of the user's code that is at fault, if one is known."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not Path(f.filename).is_relative_to(_PACKAGE)]
    own = [f for f in own if Path(f.filename).is_file() and "importlib" not in f.filename]
    if error.__cause__ is not None or not own or own[-1].lineno is None:
        return finding  # it says its place itself, or has none
    place = Path(own[-1].filename)
    shown = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
    return replace(finding, says=f"{shown}, line {own[-1].lineno}: {finding.says}")


def _check_findings(dispatcher: AgentDispatcher) -> Iterator[Finding]:
    """Look at what routes do with the work of their agents."""
    for route in dispatcher.routes.values():
        for program in _missing_programs(route):
            yield Finding(
                "check",
                Level.FAIL,
                f"Route {route.name!r}: {program!r} of its check= is not found on PATH.",
                "Install it, or give its path. What only the task's folder has is named by a path "
                "that begins with ./",
            )


def _missing_programs(route: Route) -> list[str]:
    """The programs of a route's checks that are not there, as far as that can be seen before."""
    path = route.env.get("PATH", os.environ.get("PATH"))
    programs = [shlex.split(command)[0] for command in route.check]
    return [p for p in programs if "/" not in p and shutil.which(p, path=path) is None]
