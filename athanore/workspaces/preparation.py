"""Making a folder ready: commands that are run once in it, and again when lock files changed."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from athanore.errors import ConfigurationError, WorkspaceError
from athanore.workspaces.base import WorkspaceRequest

LOCK_FILES = (
    "Cargo.lock",
    "Gemfile.lock",
    "bun.lock",
    "composer.lock",
    "flake.lock",
    "go.sum",
    "mix.lock",
    "package-lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "requirements.txt",
    "uv.lock",
    "yarn.lock",
)
"""The files at the top of a folder whose change has `setup` run again."""

PAUSES = (timedelta(seconds=1), timedelta(seconds=5))
"""The time before the second and the third try of a command that failed."""

_LARGEST = 50_000_000  # bytes of a lock file that are looked at


def split_commands(option: str, commands: str | Sequence[str] | None) -> list[list[str]]:
    """The words of one command, or of several.

    Raises:
        ConfigurationError: a command has no words, or a quote that is not closed.
    """
    found: list[list[str]] = []
    for command in [commands] if isinstance(commands, str) else list(commands or ()):
        try:
            words = shlex.split(command)
        except ValueError as exc:
            raise ConfigurationError(
                f"{option}={command!r} cannot be split into words: {exc}."
            ) from None
        if not words:
            raise ConfigurationError(f"{option}={command!r} must name a program.")
        found.append(words)
    return found


class Preparation:
    """What is run to make a folder ready.

    Args:
        commands: one command, or several; each is split as a shell would split it, and no shell is
            run.
        timeout: how long each may take.
        pauses: the times between tries of a command that fails.

    Raises:
        ConfigurationError: a command has no words, or a quote that is not closed.
    """

    def __init__(
        self,
        commands: str | Sequence[str] | None,
        timeout: timedelta,
        pauses: Sequence[timedelta] = PAUSES,
    ) -> None:
        self._commands = split_commands("setup", commands)
        self._timeout = timeout
        self._pauses = pauses

    async def done(self, folder: Path, before: str, request: WorkspaceRequest) -> str:
        """Make a folder ready, if it is not; returns what it was made ready with.

        Args:
            before: what it was made ready with last; "" if it never was.

        Raises:
            WorkspaceError: a command failed, and failed again. If the folder was ready once, that
                is only said: whoever changed the lock files can mend it, and that is the agent.
        """
        if not self._commands or before == self._inputs(folder):
            return before
        try:
            for words in self._commands:
                await self._run(words, folder, request)
        except WorkspaceError as exc:
            if not before:
                raise
            request.say(f"{exc} The agent starts all the same.")
        return self._inputs(folder)

    async def _run(self, words: list[str], folder: Path, request: WorkspaceRequest) -> None:
        command = shlex.join(words)
        for pause in (*self._pauses, None):
            request.say(f"Making the folder ready: {command}")
            result = await request.run(words, folder, self._timeout)
            if result.succeeded:
                return
            if pause is None or not result.retryable:
                raise WorkspaceError(
                    f"setup failed: {command} ({result.reason})", result.output_tail
                )
            seconds = pause.total_seconds()
            request.say(f"{command}: {result.reason}; trying again in {seconds:g} s.")
            await asyncio.sleep(seconds)

    def _inputs(self, folder: Path) -> str:
        """A digest of the commands and of the lock files."""
        digest = hashlib.sha256(repr(self._commands).encode())
        for name in LOCK_FILES:
            file = folder / name
            with suppress(OSError):
                if file.is_file() and not file.is_symlink():
                    with file.open("rb") as opened:
                        digest.update(f"\0{name}\0".encode() + opened.read(_LARGEST))
        return digest.hexdigest()[:20]
