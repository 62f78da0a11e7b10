"""What a host has to have left, so that a worker starts another agent there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from athanore.processes import cgroup
from athanore.runtime.apps import App
from athanore.workspaces.folders import TaskFolders

_MEGABYTE = 1024 * 1024


def _free_memory() -> int:
    """Bytes of free memory: of the host, or of the container or unit that the worker is in."""
    there, bound = psutil.virtual_memory().available, cgroup.free_memory()
    return there if bound is None else min(there, bound)


@dataclass(frozen=True, slots=True)
class HostRoom:
    """The bounds of a host, and how much of it is free.

    Attributes:
        free_disk: tells how many bytes are free where agents work, and in which folder.
        min_memory, min_disk: bytes below which no agent is started; 0 for no such bound.
        free_memory: tells how many bytes are free.
    """

    free_disk: Callable[[], tuple[int, Path]]
    min_memory: int = 0
    min_disk: int = 0
    free_memory: Callable[[], int] = _free_memory

    def short_of(self) -> str:
        """Say of what the host has too little for another agent; nothing if of nothing."""
        if self.min_memory and (free := self.free_memory()) < self.min_memory:
            return (
                f"{free // _MEGABYTE} MB of memory are free, below min_free_memory="
                f"{self.min_memory // _MEGABYTE}"
            )
        if self.min_disk:
            free, folder = self.free_disk()
            if free < self.min_disk:
                return (
                    f"{free // _MEGABYTE} MB of the disk are free at {folder}, below "
                    f"min_free_disk={self.min_disk // _MEGABYTE}"
                )
        return ""


def host_room(app: App) -> HostRoom:
    """What the settings of an app ask of this host."""
    settings = app.dispatcher.settings
    return HostRoom(
        lambda: least_free(app),
        min_memory=settings.min_free_memory * _MEGABYTE,
        min_disk=settings.min_free_disk * _MEGABYTE,
    )


def least_free(app: App) -> tuple[int, Path]:
    """The least free bytes of the disks where agents of an app work, and a folder on that disk.

    These are the worker's folder and those that workspaces are made in.
    """
    spaces = [known.route.workspace for known in app.routes.remembered().values()]
    wanted = {Path.cwd(), *(s.folders for s in spaces if isinstance(s, TaskFolders))}
    there = {next(p for p in (f, *f.parents) if p.is_dir()) for f in wanted}
    return min((shutil.disk_usage(folder).free, folder) for folder in there)
