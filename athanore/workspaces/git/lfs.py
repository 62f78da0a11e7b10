"""Files of Git LFS in an agent's folder, looked at without the folder's git.

What `setup` has fetched is at the LFS server, and no work of an agent. What an agent adds is in its
folder alone, because nothing of ours uploads it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from athanore.workspaces.git.commands import Git

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n"
)
_LARGEST = 1024  # bytes of a pointer


def store(folder: Path) -> str:
    """Which objects of LFS a folder has, as a digest; "" where it has none."""
    objects = _objects(folder)
    if objects.parent.is_symlink() or objects.is_symlink():
        return ""
    names = sorted(path.name for path in objects.rglob("*") if not path.is_dir())
    return hashlib.sha256("\n".join(names).encode()).hexdigest() if names else ""


async def fetched(git: Git, git_dir: Path, folder: Path, blobs: Mapping[str, str]) -> set[str]:
    """Those of a folder's files that are what their pointers stand for, and in its store.

    What was brought from another host is a file there, and LFS may have it nowhere.

    Args:
        git_dir: the repository that has the blobs.
        blobs: files of the folder's HEAD, each with its blob.
    """
    found = await pointers(git, git_dir, set(blobs.values()))
    wanted = {name: found[blob] for name, blob in blobs.items() if blob in found}
    return await asyncio.to_thread(
        lambda: {
            name
            for name, (digest, size) in wanted.items()
            if os.path.lexists(_objects(folder) / digest[:2] / digest[2:4] / digest)
            and _is(folder / name, digest, size)
        }
    )


def _objects(folder: Path) -> Path:
    return folder / ".git" / "lfs" / "objects"


async def pointers(git: Git, git_dir: Path, blobs: set[str]) -> dict[str, tuple[str, int]]:
    """The digest and the size that each of the blobs stands for that is a pointer."""
    sizes = await git("cat-file", "--batch-check", git_dir=git_dir, stdin=_lines(blobs))
    rows = [line.split(" ") for line in sizes.splitlines()]
    small = [row[0] for row in rows if row[1] == "blob" and int(row[2]) <= _LARGEST]
    said = await git("cat-file", "--batch", git_dir=git_dir, stdin=_lines(small))
    left, found = said.encode(errors="surrogateescape"), dict[str, tuple[str, int]]()
    while left:
        head, _, left = left.partition(b"\n")
        blob, _, size = head.decode().split(" ")
        if match := _POINTER.fullmatch(left[: int(size)]):
            found[blob] = (match[1].decode(), int(match[2]))
        left = left[int(size) + 1 :]
    return found


def _lines(names: Iterable[str]) -> bytes:
    return "\n".join(sorted(names)).encode()


def _is(path: Path, digest: str, size: int) -> bool:
    try:
        seen = path.lstat()
        if not stat.S_ISREG(seen.st_mode) or seen.st_size != size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
