"""A board is told from others and from its copies, however it is reached."""

from __future__ import annotations

import shutil
from pathlib import Path

from athanore import JsonFileAdapter, MemoryAdapter


def board(folder: Path) -> set[str]:
    """What a board in a folder is known by."""
    return set(JsonFileAdapter(folder / "board.json").board_identity().marks)


def test_a_board_is_the_same_from_another_path_and_a_copy_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    known = board(folder)
    assert board(folder) == known
    shutil.copytree(folder, tmp_path / "copy")
    assert not board(tmp_path / "copy") & known
    assert board(folder.rename(tmp_path / "moved")) & known


def test_a_board_whose_note_was_deleted_is_the_same_at_its_place(tmp_path: Path) -> None:
    known = board(tmp_path)
    (tmp_path / ".board.json.id").unlink()
    assert board(tmp_path) & known


def test_a_link_leads_to_the_same_board(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert board(tmp_path / "real") == board(tmp_path / "link")


def test_a_note_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("mine")
    (tmp_path / ".board.json.id").symlink_to(tmp_path / "theirs")
    assert board(tmp_path)
    assert (tmp_path / "theirs").read_text() == "mine"


def test_a_board_that_cannot_be_reached_is_known_by_its_place(tmp_path: Path) -> None:
    assert len(board(tmp_path / "gone")) == 1


def test_a_board_in_memory_does_not_last() -> None:
    identity = MemoryAdapter().board_identity()
    assert identity.marks == MemoryAdapter().board_identity().marks
    assert not identity.lasting
