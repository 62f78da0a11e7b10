"""What is looked at of agents and of the folders that they are given."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError
from athanore.launch.inspection.checks import check_agent, circles
from athanore.launch.inspection.findings import Finding, Level, at_route, failed
from athanore.workspaces.base import LooksAtRepository


def agent_findings(dispatcher: AgentDispatcher) -> Iterator[Finding]:
    """Look at each route's agent, and at the way of its tasks."""
    for route in dispatcher.routes.values():
        try:
            check_agent(dispatcher, route)
        except ConfigurationError as exc:
            yield at_route(failed("agent", exc), route)
        else:
            says = f"{route.name!r}: {route.describe(dispatcher.default_agent)}"
            yield Finding("agent", Level.OK, says)
    for way in circles(dispatcher.routes.values()):
        yield Finding(
            "routes",
            Level.WARN,
            f"tasks that agents do not move go round: {way}.",
            "Give one of them a done_queue that no route watches, unless its agents move all tasks "
            "themselves.",
        )


async def workspace_findings(dispatcher: AgentDispatcher) -> list[Finding]:
    """Look whether the repositories of workspaces are there, and who commits in their clones."""
    routes = dispatcher.routes.values()
    spaces = {id(r.workspace): r.workspace for r in routes if r.workspace is not None}
    found: list[Finding] = []
    for workspace in spaces.values():
        if not isinstance(workspace, LooksAtRepository) or workspace.check():
            continue  # which is a finding of its route
        if wrong := await workspace.look():
            mend = "Mend the repository of the workspace, its base=, or what git logs in with."
            found.append(Finding("workspace", Level.FAIL, f"{wrong}.", mend))
        else:
            found.append(Finding("workspace", Level.OK, "the repository is there, with its base"))
    commits = any(r.expects == "commits" or r.publish for r in routes)
    if found and commits and not _has_identity():
        found.append(
            Finding(
                "git",
                Level.WARN,
                "has no name and address for the commits of agents, so that they fail.",
                "git config --global user.name NAME; git config --global user.email ADDRESS",
            )
        )
    return found


def _has_identity() -> bool:
    """Whether git knows who commits, here; agents run as the same user."""
    if {"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"} <= os.environ.keys() or shutil.which("git") is None:
        return True
    commands = (["git", "config", "--get", f"user.{which}"] for which in ("name", "email"))
    return all(
        subprocess.run(command, capture_output=True, check=False).stdout.strip()
        for command in commands
    )
