"""What all providers of folders on this host have in common: who has one, and what may go."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from filelock import Timeout

from athanore.errors import PublishError, WorkspaceError, reason
from athanore.models import AgentOutcome, Task
from athanore.workspaces.base import FoundWorkspace, Workspace, WorkspaceRequest
from athanore.workspaces.hooks import Hooks
from athanore.workspaces.places import Place, Record, acquire, is_held, places
from athanore.workspaces.preparation import Preparation, split_commands
from athanore.workspaces.room import Room


class TaskFolders(ABC):
    """A provider that keeps each task's folder below a root on this host.

    Args:
        setup: a command, or several, that make a folder ready.
        setup_timeout: how long each of them may take.
        keep: how long a folder stays that nobody has used; None for ever.
        before_run, after_run: commands around each attempt.
        before_remove: commands before a folder is removed.
        min_free: how many bytes have to be free where the folders are, for an attempt to begin.
        max_size: how many bytes all folders may take, for a new one to be made.

    Raises:
        ConfigurationError: a command cannot be split into words.
    """

    def __init__(
        self,
        setup: str | Sequence[str] | None,
        setup_timeout: timedelta,
        keep: timedelta | None,
        *,
        before_run: str | Sequence[str] | None = None,
        after_run: str | Sequence[str] | None = None,
        before_remove: str | Sequence[str] | None = None,
        min_free: int | None = None,
        max_size: int | None = None,
    ) -> None:
        Preparation(setup, setup_timeout)  # a mistake in it is told now
        Hooks(before_run, after_run, before_remove, setup_timeout)
        # Under their own names, so that they count for the app's version.
        self._setup = setup
        self._setup_timeout = setup_timeout
        self._keep = keep
        self._before_run = before_run
        self._after_run = after_run
        self._before_remove = before_remove
        self._min_free = min_free
        self._max_size = max_size
        self._opened: dict[Path, tuple[Place, WorkspaceRequest]] = {}

    @property
    @abstractmethod
    def folders(self) -> Path:
        """Where all folders are."""

    @property
    def stays_on_host(self) -> bool:
        """Whether a folder is on one host alone; see `StaysOnHost`."""
        return True

    @property
    def measured(self) -> Path:
        """What `max_size` bounds."""
        return self.folders

    @property
    @abstractmethod
    def folder_name(self) -> str:
        """What the folder of each task is called."""

    @abstractmethod
    async def make(self, place: Place, record: Record, request: WorkspaceRequest) -> Record:
        """See to it that there is a folder; returns the record with what is known of it now."""

    def named(self, record: Record, task: Task) -> Record:
        """The record of a task's folder with the branch that it has, or will have."""
        return record

    async def arrive(
        self, place: Place, record: Record, request: WorkspaceRequest
    ) -> tuple[Record, tuple[str, ...]]:
        """Go on from what other hosts did with a task; returns what people should know of it."""
        return record, ()

    async def made_ready(self, place: Place, record: Record) -> Record:
        """The record of a folder that is ready, and that was fresh until now; see `Record`."""
        return record

    async def begun(self, place: Place, record: Record) -> Record:
        """Let other hosts know that an attempt begins."""
        return record

    async def ended(self, place: Place, record: Record) -> Record:
        """Let other hosts have what an attempt left."""
        return record

    async def newest_base(self, place: Place, record: Record, request: WorkspaceRequest) -> str:
        """Bring what the base is now into a folder; returns what it is called there, if at all."""
        return ""

    @abstractmethod
    async def secure(self, place: Place, record: Record) -> Sequence[str]:
        """Keep elsewhere what an attempt left in a folder; returns what people should know."""

    @abstractmethod
    async def unsaved(self, place: Place) -> str:
        """Say what would be lost with a folder, in a few words; "" if nothing would."""

    def check(self) -> str | None:
        """Say what keeps it from giving folders; see `WorkspaceProvider.check`."""
        there = next(p for p in (self.folders, *self.folders.parents) if is_there(p))
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return self._room.too_little_free(there) or self._room.too_much_taken(self.measured)
        return f"the folder {str(self.folders)!r} cannot be made: {there} may not be written"

    def programs(self) -> dict[str, list[str]]:
        """The programs that are run in folders, by the argument that names them."""
        given = {
            "setup": self._setup,
            "before_run": self._before_run,
            "after_run": self._after_run,
            "before_remove": self._before_remove,
        }
        return {name: [words[0] for words in split_commands(name, g)] for name, g in given.items()}

    @property
    def _room(self) -> Room:
        return Room(self._min_free, self._max_size)

    @property
    def _hooks(self) -> Hooks:
        return Hooks(self._before_run, self._after_run, self._before_remove, self._setup_timeout)

    async def open(self, request: WorkspaceRequest) -> Workspace:
        """Give a task's folder to an attempt; see `WorkspaceProvider.open`."""
        place = Place(self.folders, request.app, request.task.id, self.folder_name)
        with _refusals_told(place):
            return await self._open(place, request)

    async def _open(self, place: Place, request: WorkspaceRequest) -> Workspace:
        place.make()
        too_full = self._room.too_little_free(place.home)
        if too_full is None and not is_there(place.folder):
            too_full = await asyncio.to_thread(self._room.too_much_taken, self.measured)
        if too_full:
            raise WorkspaceError(f"There is no room for a folder: {too_full}.")
        await acquire(place.lock)
        try:
            record = place.read()
            if record.is_open:
                await self._make_up_for(place, record, request)
            record = self.named(replace(record, task_name=request.task.name), request.task)
            record, notes = await self.arrive(place, record, request)
            record = await self.make(place, record, request)
            place.write(record)
            preparation = Preparation(self._setup, self._setup_timeout)
            prepared = await preparation.done(place.folder, record.prepared, request)
            if record.is_fresh:
                record = await self.made_ready(place, record)
            place.write(replace(record, prepared=prepared))
            newest = await self.newest_base(place, record, request) if request.renew_base else ""
            await self._hooks.before(place.folder, request)
            record = replace(
                record,
                prepared=prepared,
                number=record.number + 1,
                opened_at=_now().isoformat(),
                closed_at="",
                outcome="",
                is_fresh=False,
            )
            record = await self.begun(place, record)
            place.write(record)
        except BaseException:
            place.lock.release()
            raise
        self._opened[place.folder] = (place, request)
        return Workspace(place.folder, record.branch, record.base, newest, notes)

    async def _make_up_for(self, place: Place, record: Record, request: WorkspaceRequest) -> None:
        """Keep what an attempt left whose worker died, before another one is given the folder."""
        try:
            for note in await self.secure(place, record):
                request.say(note)
        except WorkspaceError as exc:
            request.say(f"What the last attempt left in the folder is not kept elsewhere: {exc}")

    async def close(self, workspace: Workspace, outcome: AgentOutcome | None) -> Sequence[str]:
        """Take a folder back; see `WorkspaceProvider.close`."""
        place, request = self._opened.pop(workspace.path)
        try:
            with _refusals_told(place):
                place.check()
                await self._hooks.after(place.folder, request)
                record = place.read()
                notes = await self.secure(place, record)
                said = str(outcome or "stopped")
                ended = replace(record, closed_at=_now().isoformat(), outcome=said)
                place.write(ended)
                place.write(await self.ended(place, ended))
                return notes
        finally:
            place.lock.release()

    def preview(self, app: str, task: Task) -> Workspace:
        """Say what `open` would give; see `WorkspaceProvider.preview`."""
        place = Place(self.folders, app, task.id, self.folder_name)
        record = self.named(place.read(), task)
        return Workspace(place.folder, record.branch, record.base)

    async def find(self, app: str) -> Sequence[FoundWorkspace]:
        """List an app's folders on this host; see `WorkspaceProvider.find`."""
        there = [p for p in places(self.folders, app, self.folder_name) if is_there(p.folder)]
        return [await self._found(place) for place in there]

    async def _found(self, place: Place) -> FoundWorkspace:
        record, in_use = place.read(), is_held(place.lock)
        return FoundWorkspace(
            task_id=place.task_id,
            task_name=record.task_name,
            path=place.folder,
            branch=record.branch,
            used_at=record.used_at,
            in_use=in_use,
            is_abandoned=record.is_open and not in_use,
            kept="in use" if in_use else await self._kept(place, record),
        )

    async def _kept(self, place: Place, record: Record) -> str:
        try:
            with _refusals_told(place):
                if unsaved := await self.unsaved(place):
                    return unsaved
        except WorkspaceError as exc:
            return f"cannot be looked at: {exc}"
        if self._keep is None:
            return "kept for ever"
        until = record.used_at + self._keep
        return "" if until <= _now() else f"kept until {until:%Y-%m-%d %H:%M} UTC"

    async def remove(self, request: WorkspaceRequest, *, force: bool = False) -> None:
        """Remove a task's folder; see `WorkspaceProvider.remove`."""
        await self._remove(request, self._kept, force=force)

    async def finish(self, request: WorkspaceRequest) -> None:
        """Remove the folder of a task that is done with; see `EndsWork.finish`."""
        await self._remove(request, self._unsaved)

    async def _unsaved(self, place: Place, record: Record) -> str:
        return await self.unsaved(place)

    async def _remove(
        self,
        request: WorkspaceRequest,
        kept_for: Callable[[Place, Record], Awaitable[str]],
        *,
        force: bool = False,
    ) -> None:
        place = Place(self.folders, request.app, request.task.id, self.folder_name)
        if not is_there(place.folder):
            return
        with _refusals_told(place), _had_at_once(place):
            record = place.read()
            if not force and (kept := await kept_for(place, record)):
                raise WorkspaceError(f"{place.folder} is kept: {kept}.")
            for step in (
                partial(self._clear, place, request),
                partial(self.secure, place, record),
            ):
                try:
                    await step()
                except WorkspaceError as exc:
                    if not force:
                        raise
                    request.say(str(exc))
            await delete(place.folder)
            closed_at = record.closed_at or _now().isoformat()
            place.write(replace(record, prepared="", closed_at=closed_at))

    async def _clear(self, place: Place, request: WorkspaceRequest) -> None:
        """Run what comes before a removal.

        Raises:
            WorkspaceError: a command failed.
        """
        if place.folder.is_dir() and not place.folder.is_symlink():
            await self._hooks.removing(place.folder, request)


@contextmanager
def _had_at_once(place: Place) -> Generator[None]:
    """Have a folder in a block, if no attempt has it.

    Raises:
        WorkspaceError: one has, or the way there is not ours.
    """
    place.check()
    try:
        place.lock.acquire(blocking=False)
    except Timeout:
        raise WorkspaceError(f"{place.folder} is in use.") from None
    try:
        yield
    finally:
        place.lock.release()


@contextmanager
def _refusals_told(place: Place) -> Generator[None]:
    """Have what the system or the forge refuses told as a provider tells what it cannot do."""
    try:
        yield
    except OSError as exc:
        what = exc.filename or place.folder
        raise WorkspaceError(f"{what}: {exc.strerror or reason(exc)}.") from exc
    except PublishError as exc:
        raise WorkspaceError(str(exc)) from exc


def set_aside(place: Place, why: str, say: Callable[[str], None]) -> None:
    """Give what is in a folder's place another name, so that nothing of it is lost.

    Raises:
        WorkspaceError: that is not possible.
    """
    number = 1
    while is_there(aside := place.home / f"{place.folder.name}.aside-{number}"):
        number += 1
    try:
        place.folder.rename(aside)
    except OSError as exc:
        raise WorkspaceError(f"{place.folder}: {why}, and it cannot be renamed: {exc}.") from exc
    say(f"{place.folder}: {why}. It is {aside} now, and a new folder is made.")


async def delete(folder: Path) -> None:
    """Remove a folder with all that is in it, and nothing that links in it lead to.

    Raises:
        WorkspaceError: something cannot be removed.
    """
    try:
        await asyncio.to_thread(_remove_all, folder)
    except OSError as exc:
        raise WorkspaceError(f"{folder} cannot be removed: {exc}.") from exc


def _remove_all(path: Path) -> None:
    if not is_there(path):
        return
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path, onexc=_make_writable)


def _make_writable(remove: Callable[..., object], path: str, error: BaseException) -> None:
    """Remove what is in a folder that an agent made read-only, as caches of packages are."""
    if not isinstance(error, PermissionError):
        raise error
    for part in (os.path.dirname(path), path):
        with suppress(OSError):
            if stat.S_ISDIR(os.lstat(part).st_mode):
                os.chmod(part, 0o700)
    if remove in (os.open, os.scandir):
        shutil.rmtree(path)
    else:
        remove(path)


def is_there(path: Path) -> bool:
    """Tell whether there is anything at a path, be it a link that leads nowhere."""
    return path.is_symlink() or path.exists()


def _now() -> datetime:
    return datetime.now(UTC)
