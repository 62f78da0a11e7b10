"""A note beside a board's file that tells the board from others, and from its copies."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from athanore.queue_adapters.json_file.beside import read_note, write_note


def board_id(note: Path, board: Path) -> str:
    """Return the id in a note; it is made where there is none, or only one that was copied here.

    The note names the folder in which it was made by its inode. That stays when the folder is
    renamed, mounted elsewhere or exported, and a copy of the folder has another.

    The caller holds the board's lock.

    Raises:
        OSError: the note cannot be written.
    """
    inode = str(os.stat(note.parent).st_ino)
    text = (read_note(note) or b"").decode(errors="replace")
    known, _, made_in = text.strip().partition(" ")
    if known and made_in == inode:
        return known
    new = str(uuid4())
    write_note(note, f"{new} {inode}\n".encode(), board)
    return new
