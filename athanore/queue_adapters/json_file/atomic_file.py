"""Replacing a file so that a reader sees the old one or the new one, whatever happens between."""

from __future__ import annotations

import os
import stat
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Signature(NamedTuple):
    """What changes when a file is edited or replaced."""

    mtime_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """Take it from a stat."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)

    @classmethod
    def at(cls, path: Path) -> Signature | None:
        """Take it from the file at a path; None if there is none."""
        try:
            return cls.of(os.stat(path))
        except FileNotFoundError:
            return None

    @property
    def is_young(self) -> bool:
        """True if a further edit could still leave the same signature: clocks of files tick slowly.

        A time in the future is no reason to wait for it.
        """
        return abs(time.time_ns() - self.mtime_ns) < 50_000_000


def read_file(path: Path) -> tuple[bytes, Signature]:
    """Read a whole file; the signature was taken before, so that a later edit shows.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    with open(path, "rb") as file:
        signature = Signature.of(os.fstat(file.fileno()))
        return file.read(), signature


def replace_file(target: Path, data: bytes, expected: Signature | None) -> Signature | None:
    """Replace a file durably, unless it is no longer as expected (None: it does not exist).

    Mode and, where allowed, owner are kept. Returns the new signature, which differs from that of
    every earlier state; None if the file has changed meanwhile, and is left as it is.

    Raises:
        OSError: the file could not be written; it is as it was.
    """
    if Signature.at(target) != expected:
        return None
    temporary = target.with_name(f"{_prefix(target)}{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            if expected is not None:
                _copy_access(target, file.fileno())
            file.write(data)
            file.flush()
            # Two quick writes of one size, and an inode used again, would have one signature.
            now = max(time.time_ns(), expected.mtime_ns + 1 if expected else 0)
            os.utime(file.fileno(), ns=(now, now))
            os.fsync(file.fileno())
            signature = Signature.of(os.fstat(file.fileno()))
        if Signature.at(target) != expected:
            return None
        os.replace(temporary, target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync_folder(target.parent)
    return signature


def remove_leftovers(target: Path) -> None:
    """Remove temporary files that a killed writer left; only for the holder of the lock."""
    for entry in os.scandir(target.parent):
        if entry.name.startswith(_prefix(target)) and entry.name.endswith(".tmp"):
            with suppress(OSError):
                os.unlink(entry.path)


def _prefix(target: Path) -> str:
    return f".{target.name}.write-"


def _copy_access(source: Path, descriptor: int) -> None:
    """Give a new file the mode and the owner of the one that it replaces."""
    status, own = os.stat(source), os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (own.st_uid, own.st_gid):
        with suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; the change is made by now, so what fails here is no error."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
