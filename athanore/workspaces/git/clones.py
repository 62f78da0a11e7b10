"""What is done in an agent's clone: by the agent's git, or without any."""

from __future__ import annotations

from pathlib import Path

from athanore.workspaces.base import WorkspaceRequest
from athanore.workspaces.git.commands import GIT_TIMEOUT


async def fetched_there(mirror: Path, folder: Path, request: WorkspaceRequest, spec: str) -> bool:
    """Have the agent's git fetch something from the mirror, as the agent itself would.

    Git of the worker does not run in an agent's folder: it would do what the folder's settings
    say. It is run as the agent is, so that it may do what the agent may, and nothing else.
    """
    options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance")
    words = ("git", "fetch", *options, "--no-recurse-submodules", "--", str(mirror), spec)
    result = await request.run(words, folder, GIT_TIMEOUT)
    if not result.succeeded:
        request.say(f"git fetch of {spec} failed in the folder: {result.reason}.")
    return result.succeeded


def remove_stale_locks(own: Path) -> None:
    """Remove the locks of a git that was killed with its agent; nobody is at work there now."""
    for lock in [*own.glob("*.lock"), *own.glob("refs/**/*.lock")]:
        lock.unlink(missing_ok=True)
