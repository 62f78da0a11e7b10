"""What hosts share of a task's folder: a private repository, one ref for each task.

    refs/athanore/<app>/<task>/shared              what was shared last
    refs/athanore/<app>/<task>/beside/<host>-<n>   what a host had not shared when another went on

The commit of `shared` has no files. Its message says which host has, or had, the folder; its
parents are the newest commit of the branch, and the folder at the end of the attempt. It is only
replaced by who has seen what is there, so that of two hosts one is told that it comes too late.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Final

from pydantic import TypeAdapter, ValidationError

from athanore.errors import WorkspaceError
from athanore.workspaces.git.address import Address
from athanore.workspaces.git.commands import Git, GitError, upstream_environment
from athanore.workspaces.git.mirror import Mirror

_TIMEOUT: Final = timedelta(minutes=30)
_REJECTED: Final = re.compile(r"\[(remote )?rejected\]|stale info|cannot lock ref")


class OvertakenError(WorkspaceError):
    """Another host has shared something since this one looked."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What was shared of a task last.

    Attributes:
        host: who did it.
        branch, base: as of the folder.
        number: of the attempt.
        at: when, in ISO 8601.
        is_open: the attempt had begun, and its end was not shared yet.
        tip: the newest commit of the branch.
        work: the folder at the end of the attempt; "" if that was not shared.
        commit: the commit that says so.
    """

    host: str
    branch: str
    base: str
    number: int
    at: str
    is_open: bool
    tip: str
    work: str = ""
    commit: str = ""


_SHARED = TypeAdapter(Shared)


class Share:
    """The shared place, for one task.

    Args:
        refs: what the task's refs are below, in the mirror and there.
    """

    def __init__(self, git: Git, mirror: Mirror, address: Address, refs: str) -> None:
        self._git = git
        self._mirror = mirror
        self._address = address
        self._ref = f"{refs}/shared"
        self._beside = f"{refs}/beside"

    async def read(self) -> Shared | None:
        """Fetch what was shared last; None if nothing ever was.

        Raises:
            WorkspaceError: the place does not answer, or has what cannot be read.
        """
        try:
            if not await self._there("ls-remote", "--", self._address.text, self._ref):
                return None
            words = ("--quiet", "--no-tags", "--no-write-fetch-head", "--", self._address.text)
            await self._there("fetch", *words, f"+{self._ref}:{self._ref}")
            git_dir = self._mirror.git_dir
            commit = await self._mirror.commit(self._git, self._ref)
            said = await self._git("log", "-1", "--format=%B", commit, git_dir=git_dir)
        except GitError as exc:
            raise WorkspaceError(f"share={self._address.text!r}: {exc}", exc.output) from exc
        try:
            return replace(_SHARED.validate_json(said), commit=commit)
        except ValidationError as exc:
            raise WorkspaceError(
                f"share={self._address.text!r}: {self._ref} was not written by Athanore."
            ) from exc

    async def write(self, state: Shared, before: str) -> str:
        """Share something in place of what was there; returns its commit.

        Args:
            before: the commit that was shared until now; "" if there was none.

        Raises:
            OvertakenError: there is something else now.
            WorkspaceError: the place does not answer.
        """
        git, git_dir = self._git, self._mirror.git_dir
        said = json.dumps({k: v for k, v in asdict(state).items() if k != "commit"})
        try:
            tree = await git("mktree", git_dir=git_dir)
            ends = dict.fromkeys(one for one in (state.tip, state.work) if one)
            parents = [word for one in ends for word in ("-p", one)]
            commit = await git("commit-tree", tree, *parents, git_dir=git_dir, stdin=said.encode())
            await self._push(f"--force-with-lease={self._ref}:{before}", f"{commit}:{self._ref}")
        except GitError as exc:
            if _REJECTED.search(exc.output):
                raise OvertakenError(f"Another host has gone on with {self._ref}.") from exc
            raise WorkspaceError(f"share={self._address.text!r}: {exc}", exc.output) from exc
        return commit

    async def put_beside(self, commit: str, name: str) -> str:
        """Share what had not been shared beside all else; returns its ref.

        Raises:
            WorkspaceError: the place does not answer.
        """
        ref = f"{self._beside}/{name}"
        try:
            await self._git("update-ref", ref, commit, git_dir=self._mirror.git_dir)
            await self._push("--force", f"{commit}:{ref}")
        except GitError as exc:
            raise WorkspaceError(f"share={self._address.text!r}: {exc}", exc.output) from exc
        return ref

    async def _push(self, how: str, spec: str) -> None:
        words = ("--quiet", "--no-follow-tags", "--no-recurse-submodules", how, "--")
        await self._there("push", *words, self._address.text, spec)

    async def _there(self, command: str, *words: str) -> str:
        return await self._git(
            command,
            *self._address.served(command),
            *words,
            git_dir=self._mirror.git_dir,
            limit=_TIMEOUT,
            env=upstream_environment(),
            login=self._address.login,
        )
