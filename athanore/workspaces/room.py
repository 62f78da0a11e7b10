"""Whether there is room for folders: free disk, and what all folders of a root may take."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 512  # the unit of `st_blocks`
_MEND = "athanore workspaces clean removes folders that may go"


@dataclass(frozen=True, slots=True)
class Room:
    """What bounds the folders below a root.

    Attributes:
        min_free: how many bytes have to be free on the disk; None for no bound.
        max_size: how many bytes all that is below the root may take; None for no bound.
    """

    min_free: int | None
    max_size: int | None

    def too_little_free(self, folder: Path) -> str | None:
        """Say that too little of the disk is free, in a few words; None if there is enough."""
        if self.min_free is None or (free := shutil.disk_usage(folder).free) >= self.min_free:
            return None
        return (
            f"{free / 1e9:.1f} GB are free at {folder}, and min_free={self.min_free} asks for "
            f"{self.min_free / 1e9:.1f} GB; {_MEND}"
        )

    def too_much_taken(self, root: Path) -> str | None:
        """Say that what is below a root takes too much, in a few words; None if it does not."""
        if self.max_size is None or (taken := size_of(root)) < self.max_size:
            return None
        return (
            f"{taken / 1e9:.1f} GB are taken below {root}, and max_size={self.max_size} allows "
            f"{self.max_size / 1e9:.1f} GB; {_MEND}"
        )


def size_of(root: Path) -> int:
    """The bytes that all files below a folder take on the disk.

    A file with several names, as clones share them with their mirror, counts once; what links
    lead to counts as nothing.
    """
    several: set[tuple[int, int]] = set()
    total = 0
    for entry in _entries(root):
        try:
            seen = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it is gone meanwhile
        if seen.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
            if (seen.st_dev, seen.st_ino) in several:
                continue
            several.add((seen.st_dev, seen.st_ino))
        total += seen.st_blocks * _BLOCK
    return total


def _entries(root: Path) -> Iterator[os.DirEntry[str]]:
    left = [str(root)]
    while left:
        try:
            with os.scandir(left.pop()) as found:
                for entry in found:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            continue  # it is gone, or may not be read
