"""What is run in a folder around each attempt and before its removal, as the agent is run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from athanore.errors import WorkspaceError
from athanore.workspaces.base import WorkspaceRequest
from athanore.workspaces.preparation import split_commands

AFTER_RUN = timedelta(seconds=30)
"""How long each command of `after_run` may take: a worker that stops waits for it."""


class Hooks:
    """Commands before and after each attempt, and before a folder is removed.

    Args:
        before_run: one command, or several; without any of them an attempt does not begin.
        after_run: the same, once the agent has ended, in whichever way.
        before_remove: one command, or several; where one fails the folder stays.
        timeout: how long each command of `before_run` and `before_remove` may take.

    Raises:
        ConfigurationError: a command has no words, or a quote that is not closed.
    """

    def __init__(
        self,
        before_run: str | Sequence[str] | None,
        after_run: str | Sequence[str] | None,
        before_remove: str | Sequence[str] | None,
        timeout: timedelta,
    ) -> None:
        self._before = split_commands("before_run", before_run)
        self._after = split_commands("after_run", after_run)
        self._removing = split_commands("before_remove", before_remove)
        self._timeout = timeout

    async def before(self, folder: Path, request: WorkspaceRequest) -> None:
        """Run what comes before an attempt.

        Raises:
            WorkspaceError: a command failed.
        """
        for words in self._before:
            request.say(f"Before the agent: {shlex.join(words)}")
            result = await request.run(words, folder, self._timeout)
            if not result.succeeded:
                said = f"before_run failed: {shlex.join(words)} ({result.reason})"
                raise WorkspaceError(said, result.output_tail)

    async def after(self, folder: Path, request: WorkspaceRequest) -> None:
        """Run what comes after an attempt; what fails is said, and changes nothing."""
        for words in self._after:
            request.say(f"After the agent: {shlex.join(words)}")
            result = await request.run(words, folder, min(AFTER_RUN, self._timeout))
            if not result.succeeded:
                request.say(f"after_run failed: {shlex.join(words)} ({result.reason})")

    async def removing(self, folder: Path, request: WorkspaceRequest) -> None:
        """Run what comes before a folder is removed.

        Raises:
            WorkspaceError: a command failed.
        """
        for words in self._removing:
            request.say(f"Before the removal of {folder}: {shlex.join(words)}")
            result = await request.run(words, folder, self._timeout)
            if not result.succeeded:
                raise WorkspaceError(
                    f"{folder} is kept: before_remove failed: {shlex.join(words)} "
                    f"({result.reason}).",
                    result.output_tail,
                )
