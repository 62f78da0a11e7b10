"""The mirror of a repository on this host: what clones are made of and what agents did goes to.

No agent is given it. Below `refs/heads` and `refs/tags` it has what the repository has, and below
`refs/athanore/<app>/<task>/` what was in the folder of a task:

    refs/athanore/<app>/<task>/<number>       the folder at the end of an attempt, work that was not
                                              committed included
    refs/athanore/<app>/<task>/folder/...     the folder's own refs, as they were seen last
    refs/athanore/<app>/<task>/HEAD           the commit that is checked out there
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from athanore.errors import SpoiledFolderError
from athanore.workspaces.git import lfs
from athanore.workspaces.git.address import Address
from athanore.workspaces.git.commands import Git, GitError, upstream_environment
from athanore.workspaces.git.leftovers import in_short, why_left_out
from athanore.workspaces.places import LOCK_WAIT, held

_FETCH_TIMEOUT = timedelta(minutes=30)
_WAIT = 4 * _FETCH_TIMEOUT  # for two others, each of which fetches and clones
_PACK_TIMEOUT = LOCK_WAIT - timedelta(minutes=2)
_MANY_OBJECTS = 5000  # files of single objects
_MANY_PACKS = 40
_FORGOTTEN = timedelta(days=1)
_LEFT = _FETCH_TIMEOUT + timedelta(minutes=5)  # no call of git takes as long as that
_LINK = "160000 "  # the mode of another repository's commit
_SOUND = ("objects", "refs")
# The folder is only read: what cannot be written is the host's, and so is what has used it up.
_USED_UP = re.compile(
    "No space left on device|Disk quota exceeded|File too large|Read-only file system"
    "|Input/output error|Stale file handle|Too many open files|Cannot allocate memory"
    "|[Oo]ut of memory|Resource temporarily unavailable|died of signal (9|15|25)"
)
_BORROWS = ("objects/info/alternates", "objects/info/http-alternates", "commondir")


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of a folder.

    Attributes:
        uncommitted: the files that were not committed.
        left_out: those that are not kept, each with the reason.
    """

    uncommitted: Sequence[str]
    left_out: Sequence[str]

    def notes(self, folder: Path, ref: str) -> list[str]:
        """What people should know of it, a sentence each."""
        said: list[str] = []
        if self.uncommitted:
            said.append(f"Not committed in {folder}: {in_short(self.uncommitted)}. Kept as {ref}.")
        if self.left_out:
            said.append(f"Not kept: {in_short(self.left_out)}.")
        return said


class Mirror:
    """The mirror of one repository.

    Attributes:
        git_dir: where it is.
    """

    def __init__(self, folder: Path, address: Address) -> None:
        self.git_dir = folder / "mirror.git"
        self._folder = folder
        self._lock = FileLock(folder / "mirror.lock", thread_local=False)
        self._address = address

    @property
    def exists(self) -> bool:
        """True if something was ever fetched."""
        return (self.git_dir / "HEAD").exists()

    async def clone(self, git: Git, base: str, branch: str, begin_at: str, folder: Path) -> None:
        """Make a folder with a branch, of what the repository has now.

        Args:
            base: a branch, tag or commit of the repository.
            branch: the name of the new branch.
            begin_at: a ref of the mirror that the branch begins at, if there is one; else `base`.
            folder: what does not exist yet.

        Raises:
            GitError: the repository does not answer, has no such base, or the disk is full.
        """
        async with held(self._lock, _WAIT):
            await self._fetch(git)
            start = await self.commit(git, begin_at)
            head = f"refs/heads/{base}"
            found = await self.base(git, base)
            is_branch = bool(await self.commit(git, head))
            if is_branch:  # what a clone has as its own branch
                await git("symbolic-ref", "HEAD", head, git_dir=self.git_dir)
            words = ("--quiet", "--local", "--no-checkout", "--template=")
            await git("clone", *words, "--", self.git_dir, folder, limit=_FETCH_TIMEOUT)
        own = folder / ".git"
        await git(
            "checkout",
            "--quiet",
            "--no-track",
            "-B",
            branch,
            start or found,
            git_dir=own,
            cwd=folder,
            env={"GIT_WORK_TREE": str(folder)},
        )
        if self._address.is_path:
            # Nobody pushes to a checkout of a person by mistake.
            await git("config", "--remove-section", "remote.origin", git_dir=own)
            if is_branch:
                await git("config", "--remove-section", f"branch.{base}", git_dir=own)
        else:
            await git("config", "remote.origin.url", self._address.text, git_dir=own)

    async def begin(self, git: Git) -> None:
        """Make the mirror, if there is none; nothing is fetched."""
        if not self.exists:
            async with held(self._lock, _WAIT):
                await self._init(git)

    async def restore(self, git: Git, ref: str, folder: Path) -> bool:
        """Have a new clone's files be those of a commit, without committing them.

        Args:
            ref: where the mirror has the commit, which it has no more then; it may have none.

        Returns:
            True if a file of LFS is among those that differ: then it is work of an agent, and any
            git in the folder may put it where `setup` puts what it fetches.
        """
        if not (kept := await self.commit(git, ref)):
            return False
        own, env = folder / ".git", {"GIT_WORK_TREE": str(folder)}
        listed = await git("diff-tree", "-r", "--no-renames", "HEAD", kept, git_dir=own)
        blobs = {line.split(" ")[2] for line in listed.splitlines()}
        has_lfs = bool(await lfs.pointers(git, own, blobs - {"0" * 40, "0" * 64}))
        await git("read-tree", "-u", "--reset", kept, git_dir=own, cwd=folder, env=env)
        await git("read-tree", "HEAD", git_dir=own, cwd=folder, env=env)
        await git("update-ref", "-d", ref, git_dir=self.git_dir)
        return has_lfs

    async def _init(self, git: Git) -> None:
        if not self.exists:
            await git("init", "--quiet", "--bare", "--template=", "--", self.git_dir)

    async def _fetch(self, git: Git) -> None:
        await self._init(git)
        await asyncio.to_thread(_remove_left_locks, self.git_dir, "refs/heads", "refs/tags")
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        await git(
            "fetch",
            "--quiet",
            "--prune",
            "--no-write-fetch-head",
            "--no-tags",
            *self._address.served("fetch"),
            "--",
            self._address.text,
            *refs,
            git_dir=self.git_dir,
            env=upstream_environment(),
            login=self._address.login,
            limit=_FETCH_TIMEOUT,
        )

    async def base(self, git: Git, base: str) -> str:
        """The commit of a branch or tag of the repository, or of a commit.

        Raises:
            GitError: it has none of these.
        """
        for name in (f"refs/heads/{base}", f"refs/tags/{base}", base):
            if found := await self.commit(git, name):
                return found
        raise GitError(f"{self._address.text} has no branch, tag or commit {base!r}.")

    async def commit(self, git: Git, ref: str) -> str:
        """The commit that a ref of the mirror names; "" if it names none."""
        if not ref or ref.startswith("-"):
            return ""
        try:
            return await git(
                "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", git_dir=self.git_dir
            )
        except GitError:
            return ""

    async def take(self, git: Git, folder: Path, refs: str) -> None:
        """Fetch what was committed in a folder, by its path.

        Args:
            refs: what the refs of the folder are below.

        Raises:
            SpoiledFolderError: the folder is no repository of its own, or is broken.
            GitError: the host is in the way: a full disk, a lock in the mirror, a time-out.
        """
        if why := unsound(folder):
            raise SpoiledFolderError(f"{folder}: {why}.")
        await asyncio.to_thread(_remove_left_locks, self.git_dir, refs)
        words = ("fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--")
        specs = [f"+refs/*:{refs}/folder/*", "^refs/remotes/*"]
        check = {"fetch.fsckObjects": "true"}
        fetch = partial(git, *words, folder, *specs, git_dir=self.git_dir, config=check)
        try:
            try:
                await fetch(f"+HEAD:{refs}/HEAD")
            except GitError as exc:
                if "couldn't find remote ref HEAD" not in exc.output:
                    raise
                await fetch()  # nothing committed
        except GitError as exc:
            if self._is_hosts(exc):
                raise
            raise SpoiledFolderError(f"{folder}: {exc}", exc.output) from exc

    def _is_hosts(self, error: GitError) -> bool:
        """Whether the host is in the way of a fetch from a folder, and not what is in that."""
        said = error.output  # nothing where git was not started, was ended, or took too long
        return not said or str(self.git_dir) in said or _USED_UP.search(said) is not None

    async def pack(self, git: Git, *, many: int = _MANY_OBJECTS) -> None:
        """Put the mirror's objects into one file, where there are many; none of them is lost.

        Also what no ref leads to any more is kept: an agent may have rewritten it. Clones have
        their own names for the files that they share with the mirror.

        Args:
            many: how many files of single objects are too many.

        Raises:
            GitError: it failed.
        """
        if not self.exists:
            return
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return  # a clone is being made of these files
        try:
            for left in _left_behind(self.git_dir / "objects" / "pack"):
                left.unlink(missing_ok=True)
            said = await git("count-objects", "-v", git_dir=self.git_dir)
            counted = dict(line.split(": ", 1) for line in said.splitlines())
            if int(counted["count"]) < many and int(counted["packs"]) < _MANY_PACKS:
                return
            await git("pack-refs", "--all", git_dir=self.git_dir)
            words = ("repack", "-a", "-d", "--keep-unreachable", "--quiet")
            await git(*words, git_dir=self.git_dir, limit=_PACK_TIMEOUT)
        finally:
            self._lock.release()

    async def uncommitted(self, git: Git, folder: Path, refs: str, store: str) -> list[str]:
        """The files of a folder that differ from its HEAD as it was taken last, sorted.

        Args:
            store: what of LFS was fetched there before any agent; see `lfs.store`.
        """
        with tempfile.TemporaryDirectory(prefix="index-", dir=self._folder) as scratch:
            return await self._changed(git, folder, refs, Path(scratch) / "index", store)

    async def keep(self, git: Git, folder: Path, refs: str, number: int, store: str) -> Kept:
        """Keep what is in a folder, committed or not, without touching its branch or index.

        Args:
            number: the commit will be `refs`/`number`.
            store: see `uncommitted`.

        Raises:
            WorkspaceError: it cannot be kept.
        """
        with tempfile.TemporaryDirectory(prefix="index-", dir=self._folder) as scratch:
            index = Path(scratch) / "index"
            changed = await self._changed(git, folder, refs, index, store)
            reasons = await asyncio.to_thread(lambda: [why_left_out(folder, n) for n in changed])
            kept = [name for name, why in zip(changed, reasons, strict=True) if not why]
            out = [f"{n} ({why})" for n, why in zip(changed, reasons, strict=True) if why]
            head = await self.commit(git, f"{refs}/HEAD")
            tip = head
            if kept:
                where = self._over(folder, index)
                names = "".join(f"{name}\0" for name in kept).encode(errors="surrogateescape")
                options = ("-z", "--add", "--remove", "--replace", "--stdin")
                await git("update-index", *options, cwd=folder, env=where, stdin=names)
                tree = await git("write-tree", env=where)
                parent = ("-p", head) if head else ()
                text = "Work that was not committed\n"
                if out:
                    text += "\nLeft out:\n" + "".join(f"  {line}\n" for line in out)
                said = text.encode(errors="backslashreplace")
                tip = await git("commit-tree", tree, *parent, env=where, stdin=said)
        if tip:
            await git("update-ref", f"{refs}/{number}", tip, git_dir=self.git_dir)
        return Kept(changed, out)

    async def _changed(
        self, git: Git, folder: Path, refs: str, index: Path, store: str
    ) -> list[str]:
        where = self._over(folder, index)
        head = await self.commit(git, f"{refs}/HEAD")
        await git("read-tree", *([head] if head else ["--empty"]), env=where)
        # They look at files alone: `git status` would ask a repository in the folder, by its
        # settings.
        modified = await git("ls-files", "-z", "--modified", cwd=folder, env=where)
        others = await git(
            "ls-files", "-z", "--others", "--exclude-standard", cwd=folder, env=where
        )
        found = {name for name in (modified + others).split("\0") if name}
        staged = await git("ls-files", "-z", "--stage", cwd=folder, env=where)
        links = [e.partition("\t")[2] for e in staged.split("\0") if e.startswith(_LINK)]
        if store and await asyncio.to_thread(lfs.store, folder) == store:
            rows = [e.partition("\t") for e in staged.split("\0") if e]
            blobs = {name: place.split(" ")[1] for place, _, name in rows if name in found}
            found -= await lfs.fetched(git, self.git_dir, folder, blobs)
        return sorted(found.union(_repositories(folder, links)))

    def _over(self, folder: Path, index: Path) -> dict[str, str]:
        """The mirror as the repository of the files in a folder, with an index of our own."""
        return {
            "GIT_DIR": str(self.git_dir),
            "GIT_WORK_TREE": str(folder),
            "GIT_INDEX_FILE": str(index),
        }


def _repositories(folder: Path, names: Sequence[str]) -> list[str]:
    """Those of the names that are repositories: what these have may be nowhere else."""
    return [name for name in names if os.path.lexists(folder / name / ".git")]


def _remove_left_locks(git_dir: Path, *below: str) -> None:
    """Remove the locks that a git which was killed has left of refs, and of the list of them."""
    before = time.time() - _LEFT.total_seconds()
    found = [git_dir / "packed-refs.lock", git_dir / "HEAD.lock"]
    found += [lock for refs in below for lock in (git_dir / refs).rglob("*.lock")]
    for lock in found:
        with suppress(OSError):
            if lock.lstat().st_mtime < before:
                lock.unlink()


def _left_behind(packs: Path) -> list[Path]:
    """What a git that was killed has left half written."""
    before = time.time() - _FORGOTTEN.total_seconds()
    found = [*packs.glob("tmp_*"), *packs.glob(".tmp-*")]
    return [path for path in found if path.lstat().st_mtime < before]


def unsound(folder: Path) -> str:
    """Say why a folder is no repository of its own, in a few words; "" if it is one."""
    own = folder / ".git"
    if folder.is_symlink() or not folder.is_dir():
        return "it is no folder any more"
    if own.is_symlink() or not own.is_dir():
        return "it has no .git folder of its own any more"
    for name in _SOUND:
        if (own / name).is_symlink() or not (own / name).is_dir():
            return f".git/{name} is not there, or is a link"
    for name in _BORROWS:
        if os.path.lexists(own / name):
            return f".git/{name} takes what is in another repository"
    return ""
