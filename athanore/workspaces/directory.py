"""`DirectoryWorkspace`: an empty folder for each task, without git."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import override

from athanore.errors import WorkspaceError
from athanore.workspaces.base import WorkspaceRequest
from athanore.workspaces.folders import TaskFolders, set_aside
from athanore.workspaces.places import Place, Record


class DirectoryWorkspace(TaskFolders):
    """Gives each task an empty folder, which its attempts and stages share.

    Nothing in it is anywhere else, so that only an empty folder is removed without force.

    Args:
        root: where the folders are; made if it does not exist.
        setup: a command, or several, that make a folder ready; run once for each folder.
        setup_timeout: how long each of them may take.
        keep: how long a folder stays that nobody has used; None for ever.
        before_run: a command, or several, that are run in the folder before each attempt; if one
            fails no agent starts, as with `setup`.
        after_run: the same after each attempt, however it ended, each for 30 seconds at most. What
            fails is said in the log.
        before_remove: a command, or several, that are run in a folder before it is removed. If one
            fails the folder stays.
        min_free: how many bytes have to be free where the folders are, for an agent to start.
        max_size: how many bytes all that is below `root` may take, for a new folder to be made.

    Raises:
        ConfigurationError: a command cannot be split into words.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        setup: str | Sequence[str] | None = None,
        setup_timeout: timedelta = timedelta(minutes=10),
        keep: timedelta | None = timedelta(days=7),
        before_run: str | Sequence[str] | None = None,
        after_run: str | Sequence[str] | None = None,
        before_remove: str | Sequence[str] | None = None,
        min_free: int | None = None,
        max_size: int | None = None,
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
        self._root = Path(root)

    @property
    @override
    def folders(self) -> Path:
        return self._root.expanduser().resolve()

    @property
    @override
    def folder_name(self) -> str:
        return "work"

    @override
    async def make(self, place: Place, record: Record, request: WorkspaceRequest) -> Record:
        if place.folder.is_symlink() or (place.folder.exists() and not place.folder.is_dir()):
            set_aside(place, "it is no folder any more", request.say)
        try:
            place.folder.mkdir(exist_ok=True)
        except OSError as exc:
            raise WorkspaceError(f"{place.folder} cannot be made: {exc.strerror or exc}.") from exc
        return record

    @override
    async def secure(self, place: Place, record: Record) -> Sequence[str]:
        return ()

    @override
    async def unsaved(self, place: Place) -> str:
        if not place.folder.is_dir() or any(place.folder.iterdir()):
            return "it is not empty"
        return ""
