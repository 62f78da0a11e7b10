"""Files that are mounted by themselves, as `docker run -v ./board.json:/app/board.json` does."""

from __future__ import annotations

import re
from pathlib import Path


def is_mounted(path: Path) -> bool:
    """Tell whether a path, with its links resolved, is a place where something is mounted.

    `os.path.ismount` does not know a file that is mounted from the same file system. False where
    the system does not list its mounts.
    """
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    return bytes(path) in {_plain(line.split(b" ")[4]) for line in lines}


def _plain(field: bytes) -> bytes:
    """Undo the escapes of blanks in a line of the list."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
