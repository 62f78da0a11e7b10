"""What Prefect remembers of an app tells its board from another."""

from __future__ import annotations

import pytest

from athanore.deployments.app_record import Record


def record(*marks: str) -> Record:
    """The record of an app on a board with these marks."""
    return Record("lab", marks, "somewhere", True, "/srv/lab", "host")


@pytest.mark.parametrize(
    ("one", "two", "other"),
    [
        (["id", "host:/a"], ["id", "elsewhere:/b"], False),
        (["old", "host:/a"], ["new", "host:/a"], False),
        (["id", "host:/a"], ["copy", "host:/b"], True),
        (["id"], [], False),  # a board without an identity is not compared
        ([], [], False),
    ],
)
def test_boards_with_a_mark_in_common_are_one(one: list[str], two: list[str], other: bool) -> None:
    assert record(*one).other_board(record(*two)) is other
    assert record(*two).other_board(record(*one)) is other
