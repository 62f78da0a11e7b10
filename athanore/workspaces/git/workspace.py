"""`GitWorkspace`: a clone and a branch of its own for each task."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import override

from athanore.errors import BranchNotHereError, PublishError, SpoiledFolderError, WorkspaceError
from athanore.forges.base import Forge
from athanore.models import Task
from athanore.processes.supervisor import supervise
from athanore.workspaces.base import Pushed, Shown, Work, WorkspaceRequest
from athanore.workspaces.folders import TaskFolders, delete, is_there, set_aside
from athanore.workspaces.git.address import Address
from athanore.workspaces.git.between_hosts import BetweenHosts, host_of, reconciled
from athanore.workspaces.git.branches import branch_name, check_template, refs_of
from athanore.workspaces.git.clones import fetched_there, remove_stale_locks
from athanore.workspaces.git.commands import Git
from athanore.workspaces.git.leftovers import in_short
from athanore.workspaces.git.lfs import store
from athanore.workspaces.git.logins import source, target
from athanore.workspaces.git.mirror import Mirror, unsound
from athanore.workspaces.git.outgoing import Outgoing
from athanore.workspaces.git.reaching import trouble_at
from athanore.workspaces.git.sharing import Share
from athanore.workspaces.places import Place, Record, held, is_held, places

_DEFAULT_ROOT = "~/.athanore/workspaces"
_BUSY = timedelta(minutes=1)  # how long a push waits for a folder that somebody has


class GitWorkspace(TaskFolders):
    """Gives each task a clone of a repository, with a branch that its attempts and stages share.

    The clones are made of a mirror below `root`, fetched from the repository when a task first
    comes. What is committed in a folder goes to the mirror at the end of each attempt, and so does,
    below a ref of ours, what is not. The repository is only read, but for branches of `publish=`.

    Args:
        repo: a path, or a URL. A login in a URL (`https://user:token@host/...`), or that of a
            `forge` for the same URL, is used for the mirror alone; no agent finds it in its folder.
        base: the branch, tag or commit that new branches begin at.
        branch: what the branch of a task is called; `{task_id}` and `{slug}` (of the task's name)
            are filled in.
        root: where mirrors and folders are; by default `~/.athanore/workspaces`.
        setup: a command, or several, that make a folder ready (`"uv sync"`). They are run once for
            each folder, and again when its lock files changed.
        setup_timeout: how long each of them may take.
        keep: how long a folder stays that nobody has used; None for ever. Its branch stays in the
            mirror.
        before_run: a command, or several, that are run in the folder before each attempt; if one
            fails no agent starts, as with `setup`.
        after_run: the same after each attempt, however it ended, each for 30 seconds at most. What
            fails is said in the log.
        before_remove: a command, or several, that are run in a folder before it is removed. If one
            fails the folder stays.
        min_free: how many bytes have to be free where the folders are, for an agent to start.
        max_size: how many bytes all that is below `root` may take, for a new folder to be made.
        share: a private repository, by a path or a URL, that hosts bring the work on each task to,
            so that any of them goes on from it. Without it a task's folder is on one host, and its
            tasks stay there while that host has a worker.
        forge: where branches are published, on routes with `publish=`; without one they are pushed
            to `repo`.

    Raises:
        ConfigurationError: `repo`, `branch` or `setup` cannot be understood.
    """

    def __init__(
        self,
        repo: str | Path,
        base: str = "main",
        branch: str = "athanore/{task_id}-{slug}",
        *,
        root: str | Path | None = None,
        setup: str | Sequence[str] | None = None,
        setup_timeout: timedelta = timedelta(minutes=10),
        keep: timedelta | None = timedelta(days=7),
        before_run: str | Sequence[str] | None = None,
        after_run: str | Sequence[str] | None = None,
        before_remove: str | Sequence[str] | None = None,
        min_free: int | None = None,
        max_size: int | None = None,
        share: str | Path | None = None,
        forge: Forge | None = None,
    ) -> None:
        super().__init__(
            setup,
            setup_timeout,
            keep,
            before_run=before_run,
            after_run=after_run,
            before_remove=before_remove,
            min_free=min_free,
            max_size=max_size,
        )
        check_template(branch)
        Address(repo)  # a mistake in it is told now
        if share is not None:
            Address(share, option="share")
        self._repo = repo
        self._base = base
        self._branch = branch
        self._root = None if root is None else Path(root)
        self._share = share
        self.forge = forge

    @property
    def _address(self) -> Address:
        return Address(self._repo)

    @property
    def _home(self) -> Path:
        return self.measured / self._address.folder

    @property
    @override
    def measured(self) -> Path:
        return (self._root or Path(_DEFAULT_ROOT)).expanduser().resolve()

    @property
    @override
    def folders(self) -> Path:
        return self._home / "tasks"

    @property
    @override
    def folder_name(self) -> str:
        return self._address.name

    @override
    def check(self) -> str | None:
        """Say what keeps it from giving folders; see `WorkspaceProvider.check`."""
        if shutil.which("git") is None:
            return "git is not found on PATH; install it"
        if self._address.is_path and not Path(self._address.text).exists():
            return f"the repository {self._address.text!r} does not exist"
        if self.forge is not None and (missing := self.forge.check()):
            return f"there is {missing}"
        return super().check()

    async def look(self) -> str:
        """See `LooksAtRepository.look`."""
        async with _git() as git:
            return await trouble_at(git, self._repo, self.forge, self._base)

    @property
    @override
    def stays_on_host(self) -> bool:
        return self._share is None

    @property
    def published_at(self) -> str:
        """Where branches are pushed to; see `PublishesWork.published_at`."""
        return self._address.text if self.forge is None else Address(self.forge.remote).text

    async def _target(self) -> Address:
        return await target(self._repo, self.forge)

    async def work(self, app: str, task_id: str, *, since: str = "") -> Work:
        """Say what is committed in a folder; see `ShowsWork.work`."""
        place = Place(self.folders, app, task_id, self.folder_name)
        record, refs = place.read(), refs_of(place)
        async with _git() as git:
            outgoing = Outgoing(git, self._mirror, refs, record.branch, record.base)
            # What the mirror knows is from before the attempt: it is taken at the end of each.
            before = await self._mirror.commit(git, since) or await outgoing.tip()
            await self._mirror.take(git, place.folder, refs)
            return await outgoing.work(before)

    async def show(self, app: str, task_id: str) -> Shown:
        """Say what a push would bring; see `ShowsWork.show`."""
        async with self._outgoing(app, task_id) as outgoing:
            return await outgoing.show(await self._target())

    async def push(
        self, app: str, task_id: str, *, allow_ci_changes: bool, commit: str = ""
    ) -> Pushed:
        """Push a task's branch from the mirror; see `ShowsWork.push`."""
        async with self._outgoing(app, task_id) as outgoing:
            to = await self._target()
            return await outgoing.push(to, allow_ci_changes=allow_ci_changes, commit=commit)

    @asynccontextmanager
    async def _outgoing(self, app: str, task_id: str) -> AsyncGenerator[Outgoing]:
        """A task's branch as it is now, on this host or as another one has shared it.

        Raises:
            BranchNotHereError: this host knows nothing of it.
            PublishError: an attempt has it, or what hosts share does not answer.
        """
        place = Place(self.folders, app, task_id, self.folder_name)
        try:
            if self._share is None and not place.read().branch:
                raise BranchNotHereError(task_id, socket.gethostname())
            place.make()
            async with held(place.lock, _BUSY):
                record, notes = await self._arrived(place, place.read(), lambda line: None)
                if notes or not record.branch:  # another host has not shared all of it
                    raise BranchNotHereError(task_id, socket.gethostname())
                place.write(record)
                refs = refs_of(place)
                async with _git() as git:
                    if is_there(place.folder):
                        await self._mirror.take(git, place.folder, refs)
                    yield Outgoing(git, self._mirror, refs, record.branch, record.base)
        except WorkspaceError as exc:
            raise PublishError(str(exc).rstrip(".")) from exc

    @override
    async def arrive(
        self, place: Place, record: Record, request: WorkspaceRequest
    ) -> tuple[Record, tuple[str, ...]]:
        record, notes = await self._arrived(place, record, request.say)
        if not request.is_published:
            return record, notes
        return record, (*notes, *await self._from_published(place, record))

    async def _from_published(self, place: Place, record: Record) -> tuple[str, ...]:
        """Have a new folder begin at the branch as it is published, where nothing else is known.

        The host that published it may be gone, and it is only pushed forward.
        """
        if is_there(place.folder):
            return ()
        async with _git() as git:
            await self._mirror.begin(git)
            outgoing = Outgoing(git, self._mirror, refs_of(place), record.branch, record.base)
            if not (found := await outgoing.taken_back(await self._target())):
                return ()
        return (
            f"The branch {record.branch} is published already, and nothing else of it is on this "
            f"host: it goes on from {found[:10]} there.",
        )

    async def _arrived(
        self, place: Place, record: Record, say: Callable[[str], None]
    ) -> tuple[Record, tuple[str, ...]]:
        """Go on from what other hosts have shared, if that is newer."""
        if self._share is None:
            return record, ()
        there = is_there(place.folder) and not unsound(place.folder)
        try:
            uncommitted = await self._uncommitted(place) if there else ""
        except SpoiledFolderError as exc:  # by its agent, which is no matter of this one
            uncommitted = f"it cannot be looked at: {exc}"
        async with self._between(place) as between:
            arrival = await between.arrive(record, uncommitted)
        for note in arrival.notes:
            say(note)
        if arrival.renew and is_there(place.folder):
            if there and not uncommitted:
                await delete(place.folder)
            else:
                set_aside(place, "another host has gone on with the task", say)
        return arrival.record, arrival.notes

    @override
    async def begun(self, place: Place, record: Record) -> Record:
        if self._share is None:
            return record
        async with self._between(place) as between:
            return await between.begun(record)

    @override
    async def ended(self, place: Place, record: Record) -> Record:
        if self._share is None:
            return record
        async with self._between(place) as between:
            return await between.ended(record)

    async def reconcile(self, app: str, tell: Callable[[str, str], Awaitable[None]]) -> None:
        """Share what was not shared when this host was lost; see `SharesWork.reconcile`."""
        if self._share is None:
            return
        failed: list[str] = []
        for place in places(self.folders, app, self.folder_name):
            record = place.read()
            if not (record.is_unshared or record.tell) or is_held(place.lock):
                continue
            try:
                async with held(place.lock, _BUSY):
                    if record.is_unshared:
                        await self.secure(place, record)
                    async with self._between(place) as between:
                        await reconciled(place, between, place.task_id, tell)
            except WorkspaceError as exc:  # the other tasks are shared all the same
                failed.append(f"task {place.task_id}: {str(exc).rstrip('.')}")
        if failed:
            raise WorkspaceError(f"Not shared: {'; '.join(failed)}.")

    @asynccontextmanager
    async def _between(self, place: Place) -> AsyncGenerator[BetweenHosts]:
        """What goes on between hosts about a task, with the mirror made."""
        refs = refs_of(place)
        async with _git() as git:
            await self._mirror.begin(git)
            share = Share(git, self._mirror, Address(self._share or ""), refs)
            yield BetweenHosts(git, self._mirror, share, refs, host_of(self._home))

    @override
    async def make(self, place: Place, record: Record, request: WorkspaceRequest) -> Record:
        if is_there(place.folder):
            if why := unsound(place.folder):
                set_aside(place, why, request.say)
            else:
                remove_stale_locks(place.folder / ".git")
                return record
        refs, branch = refs_of(place), record.branch
        request.say(f"Making {place.folder} with the branch {branch}.")
        for unfinished in place.home.glob("new-*"):  # of a worker that died meanwhile
            await delete(unfinished)
        new = Path(tempfile.mkdtemp(prefix="new-", dir=place.home))
        try:
            async with _git() as git:
                begin_at = f"{refs}/folder/heads/{branch}"
                mirror = Mirror(self._home, await source(self._repo, self.forge))
                await mirror.clone(git, self._base, branch, begin_at, new / "clone")
                has_lfs = await self._mirror.restore(git, f"{refs}/restore", new / "clone")
            (new / "clone").rename(place.folder)
        finally:
            with suppress(WorkspaceError):
                await delete(new)
        return replace(record, prepared="", lfs="", is_fresh=not has_lfs)

    @override
    async def made_ready(self, place: Place, record: Record) -> Record:
        return replace(record, lfs=await asyncio.to_thread(store, place.folder))

    @override
    async def newest_base(self, place: Place, record: Record, request: WorkspaceRequest) -> str:
        async with _git() as git:
            outgoing = Outgoing(git, self._mirror, refs_of(place), record.branch, record.base)
            new = await outgoing.newest_base(await self._target())
        if not new:
            return ""  # a tag or a commit stays what it is
        fetch = partial(fetched_there, self._mirror.git_dir, place.folder, request)
        if not await fetch(f"+{new}:refs/remotes/origin/{record.base}"):
            return ""
        # The folder's own branch is what ATHANORE_BASE names. It stays where an agent has
        # committed to it, or has checked it out.
        if not await fetch(f"{new}:refs/heads/{record.base}"):
            request.say(f"The branch {record.base!r} of the folder stays at where it is.")
        return f"origin/{record.base}"

    @override
    def named(self, record: Record, task: Task) -> Record:
        if record.branch:  # a task that was renamed keeps it
            return record
        branch = branch_name(self._branch, task.id, task.name)
        return replace(record, branch=branch, base=self._base)

    @override
    async def secure(self, place: Place, record: Record) -> Sequence[str]:
        if not is_there(place.folder):
            return ()
        refs = refs_of(place)
        async with _git() as git:
            await self._mirror.take(git, place.folder, refs)
            kept = await self._mirror.keep(git, place.folder, refs, record.number, record.lfs)
        return kept.notes(place.folder, f"{refs}/{record.number}")

    async def tidy(self) -> None:
        """Pack the mirror's objects, where it has many files of them; see `TidiesUp.tidy`."""
        async with _git() as git:
            await self._mirror.pack(git)

    @override
    async def unsaved(self, place: Place) -> str:
        if self._share is not None and place.read().is_unshared:
            return "not shared with other hosts yet"
        return await self._uncommitted(place)

    async def _uncommitted(self, place: Place) -> str:
        refs = refs_of(place)
        async with _git() as git:
            await self._mirror.take(git, place.folder, refs)
            lfs = place.read().lfs
            changed = await self._mirror.uncommitted(git, place.folder, refs, lfs)
        return f"not committed: {in_short(changed)}" if changed else ""

    @property
    def _mirror(self) -> Mirror:
        return Mirror(self._home, self._address)


@asynccontextmanager
async def _git() -> AsyncGenerator[Git]:
    """Git whose processes end with this one, should it be killed."""
    async with supervise() as calls:
        yield Git(calls.env)
