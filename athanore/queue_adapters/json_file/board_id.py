"""A note beside a board's file that tells the board from others, and from its copies."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from athanore.queue_adapters.json_file.atomic_file import Signature, replace_file


def board_id(note: Path) -> str:
    """Return the id in a note; it is made where there is none, or only one that was copied here.

    The note names the folder in which it was made by its inode. That stays when the folder is
    renamed, mounted elsewhere or exported, and a copy of the folder has another.

    The caller holds the board's lock.

    Raises:
        OSError: the note cannot be read or written.
    """
    inode = str(os.stat(note.parent).st_ino)
    signature = Signature.at(note)
    known, _, made_in = note.read_text().strip().partition(" ") if signature else ("", "", "")
    if known and made_in == inode:
        return known
    new = str(uuid4())
    if replace_file(note, f"{new} {inode}\n".encode(), signature) is None:
        raise OSError(f"{note} is being written by somebody else")
    return new
