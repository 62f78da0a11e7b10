"""Errors of the operating system that do not pass by themselves, and what ends them."""

from __future__ import annotations

import errno

_RIGHTS = "give the user of this process the right to read and write the file and its folder"
_MOUNT = "a file that is mounted by itself cannot be replaced: mount its folder instead"
_SPACE = "make room there"

_MENDS = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "it is on a file system that is mounted for reading only: mount it for writing",
    errno.EBUSY: _MOUNT,
    errno.EXDEV: _MOUNT,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "the file is larger than this process may write (ulimit -f)",
    errno.ENOTDIR: "mend the path",
    errno.EISDIR: "mend the path",
    errno.ELOOP: "mend the path",
}


def mend_of(error: OSError) -> str | None:
    """What a person has to do about an error; None if it may pass by itself."""
    return _MENDS.get(error.errno or 0)
