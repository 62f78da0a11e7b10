"""A board is queues of tasks. This one is a file, which you may edit while agents work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from athanore import JsonFileAdapter

pytestmark = pytest.mark.smoke


def test_a_board_is_a_json_file(tmp_path: Path) -> None:
    """Tasks are in queues, in order; everything but the name may be left out."""
    file = tmp_path / "board.json"
    file.write_text('{"queues": {"Todo": [{"id": "1", "name": "Fix crash"}], "Done": []}}')
    board = JsonFileAdapter(file)
    assert [t.name for t in board.get_ready_tasks(["Todo"])] == ["Fix crash"]


def test_athanore_and_people_change_it_side_by_side(tmp_path: Path) -> None:
    """What you add by hand is seen, and what Athanore does not know is kept."""
    file = tmp_path / "board.json"
    file.write_text('{"queues": {"Todo": [{"id": "1", "name": "Fix crash"}], "Done": []}}')
    board = JsonFileAdapter(file, user="me")
    board.add_comment("1", "Half done.")

    data = json.loads(file.read_text())
    data["queues"]["Todo"].append({"id": "2", "name": "By hand", "estimate": "3 days"})
    file.write_text(json.dumps(data))

    board.move_task("1", "Done")
    queues = json.loads(file.read_text())["queues"]
    assert [(t["name"], t["estimate"]) for t in queues["Todo"]] == [("By hand", "3 days")]
    assert [c["text"] for c in queues["Done"][0]["comments"]] == ["Half done."]
