"""Replacing a file so that a reader sees the old one or the new one, whatever happens between."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from athanore.queue_adapters.json_file.renaming import exchange


class Signature(NamedTuple):
    """What changes when a file is edited or replaced.

    A program can set the time of the last edit back, and not that of the last change of any kind.
    """

    mtime_ns: int
    size: int
    inode: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """Take it from a stat."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns)

    def is_renamed(self, other: Signature | None) -> bool:
        """Tell whether this is the other state of a file, but for its name: that leaves a time."""
        return other is not None and self[:3] == other[:3]

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
        now = time.time_ns()
        return min(abs(now - self.mtime_ns), abs(now - self.ctime_ns)) < 50_000_000


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

    Mode, group, attributes and, where allowed, owner are kept. Returns the new signature, which
    differs from that of every earlier state; None if the file has changed meanwhile, and is left
    as it is.

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
            written = Signature.of(os.fstat(file.fileno()))
            if Signature.at(target) != expected:
                return None
            if not put_in_place(temporary, target, written, expected):
                return None
            signature = Signature.of(os.fstat(file.fileno()))
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync_folder(target.parent)
    # An edit right after the rename is none of ours: it has to show.
    return signature if signature.is_renamed(written) else written


def put_in_place(
    temporary: Path, target: Path, written: Signature, expected: Signature | None
) -> bool:
    """Rename a new file to its place, if what is there is still as expected."""
    if expected is None or not exchange(temporary, target):
        os.replace(temporary, target)
        return True
    if expected.is_renamed(Signature.at(temporary)):
        return True
    exchange(temporary, target)
    if not written.is_renamed(Signature.at(temporary)):
        exchange(temporary, target)  # somebody has replaced ours meanwhile: theirs is the newest
    return False


def remove_leftovers(target: Path) -> None:
    """Remove temporary files that a killed writer left; only for the holder of the lock."""
    for entry in os.scandir(target.parent):
        if entry.name.startswith(_prefix(target)) and entry.name.endswith(".tmp"):
            with suppress(OSError):
                os.unlink(entry.path)


def _prefix(target: Path) -> str:
    return f".{target.name}.write-"


def _copy_access(source: Path, descriptor: int) -> None:
    """Give a new file what the one that it replaces has, each thing as far as we may."""
    status, own = os.stat(source), os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != own.st_uid:
        with suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, -1)
    if status.st_gid != own.st_gid:
        try:
            os.fchown(descriptor, -1, status.st_gid)
        except PermissionError:
            mode &= ~stat.S_IRWXG  # what was for one group is not for another
    if sys.platform == "linux":
        for name in _attributes(source):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(source, name))
    os.fchmod(descriptor, mode)


def _attributes(source: Path) -> list[str]:
    """The names of a file's attributes; none where its file system has no such thing."""
    try:
        return os.listxattr(source)
    except OSError as exc:
        if exc.errno not in (errno.ENOTSUP, errno.ENODATA, errno.EINVAL):
            raise
        return []


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; the change is made by now, so what fails here is no error."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
