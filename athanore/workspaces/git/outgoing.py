"""A task's branch on its way out of the mirror: what is on it, whether it may go, and the push.

Beside what the mirror keeps of a folder there is, below `refs/athanore/<app>/<task>/`,

    refs/athanore/<app>/<task>/published   the branch where it is published, as it was seen last
    refs/athanore/<app>/<task>/onto        the base there
"""

from __future__ import annotations

import re
import shlex
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from athanore.errors import BranchMovedError, PublishError, PublishRefusedError
from athanore.workspaces.base import Pushed, Shown, Work
from athanore.workspaces.git.address import Address
from athanore.workspaces.git.commands import Git, GitError, upstream_environment
from athanore.workspaces.git.leftovers import in_short
from athanore.workspaces.git.mirror import Mirror
from athanore.workspaces.git.reaching import refs_there

LARGEST_FILE: Final = 50 * 1024 * 1024
"""Bytes of the largest file that is published."""

MOST_BYTES: Final = 500 * 1024 * 1024
"""Bytes of all files together that a branch may add."""

_PUSH_TIMEOUT: Final = timedelta(minutes=30)
_SHOWN: Final = 10
_WIDTH: Final = 72
_MOST_SUBJECTS: Final = 200

# What says which programs run elsewhere, with which rights, or who has to look at a change.
_SENSITIVE: Final = re.compile(
    r"""
    \.github/(workflows|actions)/.+ | \.github/dependabot\.ya?ml
    | ((docs|\.github|\.gitlab)/)?CODEOWNERS
    | \.gitlab-ci\.ya?ml | \.gitlab/ci/.+
    | \.(circleci|buildkite|azure-pipelines|woodpecker|ci|tekton)/.+
    | (\.travis|\.drone|\.woodpecker|\.cirrus|\.?appveyor)\.ya?ml
    | (azure|bitbucket)-pipelines\.ya?ml
    | Jenkinsfile
    | (.+/)?\.gitmodules
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def is_sensitive(name: str) -> bool:
    """Tell whether a file says what runs elsewhere, or who has to look at a change."""
    return _SENSITIVE.fullmatch(name.strip("\n")) is not None


_REJECTED = re.compile(r"^ ! \[(?:remote )?rejected\].*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Ends:
    """The commits that a branch is looked at between; "" where there is none.

    Attributes:
        tip: its newest one.
        onto: that of the base.
        published: its newest one where it is published.
    """

    tip: str
    onto: str
    published: str

    @property
    def new(self) -> tuple[str, ...]:
        """What `git rev-list` is to be told for the commits that are nowhere else."""
        known = [commit for commit in (self.onto, self.published) if commit]
        return (self.tip, *(["--not", *known] if known else []))


class Outgoing:
    """The branch of one task.

    Args:
        refs: what the task's refs in the mirror are below.
        base: the branch, tag or commit that `branch` began at.
    """

    def __init__(self, git: Git, mirror: Mirror, refs: str, branch: str, base: str) -> None:
        self._git = git
        self._mirror = mirror
        self._refs = refs
        self._branch = branch
        self._base = base

    async def tip(self) -> str:
        """The newest commit of the branch as the mirror knows it, or what it began at.

        Raises:
            GitError: the mirror has neither.
        """
        kept = f"{self._refs}/folder/heads/{self._branch}"
        git, mirror = self._git, self._mirror
        return await mirror.commit(git, kept) or await mirror.base(git, self._base)

    async def work(self, before: str) -> Work:
        """What is on the branch, as far as the mirror knows.

        Args:
            before: the commit beyond which commits are new.
        """
        ends = await self._ends()
        is_new = not await self._is_in(ends.tip, before)
        return Work(ends.tip, await self._subjects(ends), is_new, await self._wrong(ends))

    async def newest_base(self, to: Address) -> str:
        """Fetch the base from where the branch is published; returns its ref in the mirror, or "".

        Raises:
            GitError: what is there does not answer.
        """
        await self._look(to)
        ref = f"{self._refs}/onto"
        return ref if await self._mirror.commit(self._git, ref) else ""

    async def taken_back(self, to: Address) -> str:
        """Have the mirror know the branch as it is published, if it knows nothing of it.

        Returns:
            The newest commit there; "" if it is not published, or is known.

        Raises:
            GitError: what is there does not answer.
        """
        kept, git, mirror = f"{self._refs}/folder/heads/{self._branch}", self._git, self._mirror
        if await mirror.commit(git, kept):
            return ""
        await self._look(to)
        if found := await mirror.commit(git, f"{self._refs}/published"):
            await git("update-ref", kept, found, git_dir=mirror.git_dir)
        return found

    async def show(self, to: Address) -> Shown:
        """Say what a push would bring there.

        Raises:
            PublishRefusedError: it may not go there, whoever wants it.
            PublishError: what is there does not answer.
        """
        try:
            await self._look(to)
            ends = await self._ends()
            if why := await self._wrong(ends):
                raise PublishRefusedError(why)
            between = f"{ends.onto[:12]}...{ends.tip[:12]}"
            changes = await self._git(
                "diff",
                "--no-ext-diff",
                "--no-textconv",
                f"--stat={_WIDTH}",
                f"--stat-count={_SHOWN}",
                between,
                git_dir=self._mirror.git_dir,
            )
            command = shlex.join(["git", f"--git-dir={self._mirror.git_dir}", "diff", between])
            return Shown(
                ends.tip,
                await self._subjects(ends),
                changes,
                tuple(await self._sensitive(ends)),
                f"{command} (on {socket.gethostname()})",
            )
        except GitError as exc:
            raise _unreachable(to, exc) from exc

    async def push(self, to: Address, *, allow_ci_changes: bool, commit: str = "") -> Pushed:
        """Bring the branch to where it is published: forward, and only what may go there.

        Args:
            commit: what it has to be at; "" for whatever it is at.

        Raises:
            BranchMovedError: it is at another commit.
            PublishRefusedError: it may not, before a person has looked at it.
            PublishError: what is there does not answer, or refuses it for now.
        """
        try:
            await self._look(to)
            ends = await self._ends()
            if commit and ends.tip != commit:
                raise BranchMovedError(
                    f"the branch {self._branch!r} is at {ends.tip[:10]} now, and not at "
                    f"{commit[:10]}, which was approved"
                )
            pushed = Pushed(ends.tip, await self._subjects(ends), is_new=True)
            if not pushed.subjects or ends.tip == ends.published:
                return Pushed(ends.tip, pushed.subjects, is_new=False)
            if why := await self._wrong(ends):
                raise PublishRefusedError(why)
            if not allow_ci_changes and (touched := await self._sensitive(ends)):
                raise PublishRefusedError(
                    f"the branch {self._branch!r} changes {in_short(touched)}, which may have "
                    "other programs run there, or others asked",
                    about_ci=True,
                )
            await self._push(ends.tip, to)
        except GitError as exc:
            raise _unreachable(to, exc) from exc
        return pushed

    async def _ends(self) -> _Ends:
        git, mirror = self._git, self._mirror
        onto = await mirror.commit(git, f"{self._refs}/onto") or await mirror.base(git, self._base)
        return _Ends(await self.tip(), onto, await mirror.commit(git, f"{self._refs}/published"))

    async def _look(self, to: Address) -> None:
        """Fetch what is there: the branch, if it was pushed before, and the base."""
        git, git_dir = self._git, self._mirror.git_dir
        wanted = {
            f"refs/heads/{self._branch}": f"{self._refs}/published",
            f"refs/heads/{self._base}": f"{self._refs}/onto",
        }
        there = await refs_there(git, to, *wanted, git_dir=git_dir)
        for name, ours in wanted.items():
            if name not in there and await self._mirror.commit(git, ours):
                await git("update-ref", "-d", ours, git_dir=git_dir)
        specs = [f"+{name}:{ours}" for name, ours in wanted.items() if name in there]
        if specs:
            await git(
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                *to.served("fetch"),
                "--",
                to.text,
                *specs,
                git_dir=git_dir,
                env=upstream_environment(),
                login=to.login,
                limit=_PUSH_TIMEOUT,
            )

    async def _push(self, tip: str, to: Address) -> None:
        git_dir = self._mirror.git_dir
        try:
            await self._git(
                "push",
                "--quiet",
                "--no-follow-tags",
                "--no-recurse-submodules",
                *to.served("push"),
                "--",
                to.text,
                f"{tip}:refs/heads/{self._branch}",
                git_dir=git_dir,
                env=upstream_environment(),
                login=to.login,
                limit=_PUSH_TIMEOUT,
            )
        except GitError as exc:
            if rejected := _REJECTED.search(exc.output):
                raise PublishRefusedError(
                    f"{to.text} takes the branch {self._branch!r} not: {rejected[0].strip(' !')}"
                ) from exc
            raise
        await self._git("update-ref", f"{self._refs}/published", tip, git_dir=git_dir)

    async def _subjects(self, ends: _Ends) -> tuple[str, ...]:
        """The first lines of all commits that the base lacks, oldest first."""
        known = ("--not", ends.onto) if ends.onto else ()
        said = await self._git(
            "log",
            "-z",
            "--reverse",
            "--format=%s",
            ends.tip,
            *known,
            git_dir=self._mirror.git_dir,
        )
        return tuple(said.removesuffix("\0").split("\0")[-_MOST_SUBJECTS:]) if said else ()

    async def _wrong(self, ends: _Ends) -> str:
        """Say why the branch cannot be published, whoever wants it; "" if it can."""
        if ends.published and not await self._is_in(ends.published, ends.tip):
            return (
                f"the branch {self._branch!r} lacks {ends.published[:10]}, which is published on "
                "it already: it was rewritten, or somebody else has pushed there. Take that in "
                "(git merge), and do not amend, rebase or reset what is published"
            )
        if ends.onto and not await self._common(ends):
            return (
                f"the branch {self._branch!r} has no commit in common with its base "
                f"{self._base!r}, so that nobody can merge it. Put its commits onto that: git "
                f"rebase --root --onto {shlex.quote(self._base)}"
            )
        return await self._too_large(ends)

    async def _common(self, ends: _Ends) -> str:
        """The newest commit that the branch and its base have in common; "" if there is none."""
        return await self._git(
            "merge-base", ends.onto, ends.tip, git_dir=self._mirror.git_dir, nothing=1
        )

    async def _too_large(self, ends: _Ends) -> str:
        git, git_dir = self._git, self._mirror.git_dir
        objects = await git("rev-list", "--objects", *ends.new, git_dir=git_dir)
        sizes = await git(
            "cat-file",
            "--batch-check=%(objecttype) %(objectsize) %(rest)",
            git_dir=git_dir,
            stdin=objects.encode(errors="surrogateescape"),
        )
        total = 0
        for line in sizes.splitlines():
            kind, size, name = (*line.split(" ", 2), "", "")[:3]
            if kind != "blob":
                continue
            total += int(size)
            if int(size) > LARGEST_FILE:
                return f"{name!r} has more than {LARGEST_FILE >> 20} MB; take it out of the commits"
        return f"the commits add more than {MOST_BYTES >> 20} MB" if total > MOST_BYTES else ""

    async def _sensitive(self, ends: _Ends) -> list[str]:
        """The files of new commits, and those that differ in the end, that a person has to see."""
        listed = ("-z", "--name-only", "--no-renames", "--no-ext-diff")
        git, git_dir = self._git, self._mirror.git_dir
        said = await git("log", "--format=", "-c", *listed, *ends.new, git_dir=git_dir)
        found = {name for name in said.split("\0") if name}
        differ = await self._differ(f"{ends.onto}...{ends.tip}") if ends.onto else set[str]()
        if ends.published:
            differ &= await self._differ(f"{ends.published}..{ends.tip}")
        return sorted(filter(is_sensitive, found | differ))

    async def _differ(self, between: str) -> set[str]:
        said = await self._git(
            "diff",
            "-z",
            "--name-only",
            "--no-renames",
            "--no-ext-diff",
            between,
            git_dir=self._mirror.git_dir,
        )
        return {name for name in said.split("\0") if name}

    async def _is_in(self, older: str, newer: str) -> bool:
        said = await self._git(
            "rev-list", "-1", older, "--not", newer, git_dir=self._mirror.git_dir
        )
        return not said


def _unreachable(to: Address, error: GitError) -> PublishError:
    said = f": {error.output}" if error.output else ""
    return PublishError(f"{to.text}: {str(error).rstrip('.')}{said}")
