"""The files beside a board's file: its lock, and its notes.

Whoever may change the board may use them, whatever user made them: they have the board's owner and
group, and those bits of its mode that let somebody write. Whoever may only read the board cannot
open the lock, because an open file is all that it takes to hold it. Others may write to the folder,
too: no link is followed, and what is no regular file is refused instead of waited for.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE


def prepare_lock(lock: Path, board: Path) -> None:
    """Make a board's lock, or give it the board's access if that has changed.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    try:
        descriptor = os.open(lock, _MAKE, 0o600)
    except FileExistsError:
        descriptor = _opened(lock, os.O_RDWR)
    try:
        _share(descriptor, board)
    finally:
        os.close(descriptor)


def check_lock(lock: Path) -> None:
    """Look whether a lock can be opened, if it is there.

    Raises:
        OSError: it cannot, or is no regular file.
    """
    with suppress(FileNotFoundError):
        os.close(_opened(lock, os.O_RDWR))


def read_note(note: Path) -> bytes | None:
    """Read a note; None if there is none, or nothing that can be read.

    Whoever may write to the folder can put anything in a note's place.
    """
    try:
        with open(_opened(note, os.O_RDONLY), "rb") as file:
            return file.read()
    except OSError:
        return None


def write_note(note: Path, data: bytes, board: Path) -> None:
    """Replace a note; only for the holder of the board's lock.

    Raises:
        OSError: it cannot be written; it is as it was.
    """
    new = note.with_name(f"{note.name}.{uuid4().hex}.tmp")
    try:
        with open(os.open(new, _MAKE, 0o600), "wb") as file:
            _share(file.fileno(), board)
            file.write(data)
        os.replace(new, note)
    finally:
        with suppress(FileNotFoundError):
            new.unlink()


def _opened(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | _SAFE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no regular file")
    return descriptor


def _share(descriptor: int, board: Path) -> None:
    """Let those use a file who may change the board, as far as we may say that."""
    try:
        status = os.stat(board)
    except FileNotFoundError:
        return
    own = os.fstat(descriptor)
    writers = status.st_mode & 0o222
    mode = 0o600 | writers | writers << 1
    for here, wanted, owner in (
        (own.st_uid, status.st_uid, (status.st_uid, -1)),
        (own.st_gid, status.st_gid, (-1, status.st_gid)),
    ):
        if here != wanted:
            with suppress(PermissionError):
                os.fchown(descriptor, *owner)
    if stat.S_IMODE(own.st_mode) != mode:
        with suppress(PermissionError):
            os.fchmod(descriptor, mode)
