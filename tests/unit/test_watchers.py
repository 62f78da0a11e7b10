"""The note beside a JSON board of who watches its queues."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import JsonFileAdapter
from athanore.errors import BoardUnavailableError

HOUR = timedelta(hours=1)


@pytest.fixture
def board(tmp_path: Path) -> JsonFileAdapter:
    adapter = JsonFileAdapter(tmp_path / "board.json")
    adapter.prepare(["Todo", "Review"])
    return adapter


def test_watchers_of_one_queue_hear_of_each_other(board: JsonFileAdapter) -> None:
    assert board.watched_by("Todo", "a", "here", HOUR) == []
    assert board.watched_by("Todo", "a", "here", HOUR) == []
    assert board.watched_by("Review", "b", "there", HOUR) == []
    assert JsonFileAdapter(board.path).watched_by("Todo", "b", "there", HOUR) == ["here"]
    assert board.watched_by("Todo", "a", "here", HOUR) == ["there"]


def test_a_note_that_is_out_of_date_does_not_count(board: JsonFileAdapter) -> None:
    board.watched_by("Todo", "a", "here", timedelta(0))
    assert board.watched_by("Todo", "b", "there", HOUR) == []


@pytest.mark.parametrize("text", ["", "[]", '{"Todo": {"a": {"place": "here"}}}', '{"Todo": 1}'])
def test_a_broken_note_is_begun_anew(board: JsonFileAdapter, text: str) -> None:
    note = board.path.with_name(".board.json.watchers")
    note.write_text(text)
    assert board.watched_by("Todo", "b", "there", HOUR) == []
    assert list(json.loads(note.read_text())["Todo"]) == ["b"]


def test_a_board_that_is_gone_cannot_be_noted_on(tmp_path: Path) -> None:
    board = JsonFileAdapter(tmp_path / "gone" / "board.json")
    with pytest.raises(BoardUnavailableError, match="does not exist"):
        board.watched_by("Todo", "a", "here", HOUR)
