"""What is kept of a claim that a board has refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from athanore.models import Comment, Task
from athanore.runs.records.refused_claim import RefusedClaim, digest

TASK = Task("1", "Fix it", "Todo", labels=("bug",))


@pytest.mark.parametrize(
    "change",
    [{"labels": ("bug", "urgent")}, {"description": "More."}, {"comments": (Comment("Look."),)}],
)
def test_a_change_of_the_task_or_of_the_code_is_seen(change: dict[str, Any]) -> None:
    assert digest(replace(TASK, **change), "v1") != digest(TASK, "v1") != digest(TASK, "v2")


def test_that_the_board_was_written_to_is_no_change() -> None:
    """A claim that was refused half-way may have done that itself."""
    assert digest(replace(TASK, updated_at=datetime.now(UTC)), "v1") == digest(TASK, "v1")


def test_a_label_says_it_and_what_is_none_is_passed_over() -> None:
    refused = RefusedClaim("seen", 2, "No team.", datetime(2026, 1, 2, tzinfo=UTC))
    assert RefusedClaim.parse(refused.dump()) == refused
    assert [RefusedClaim.parse(label) for label in ("", "{", '{"count": 2}')] == [None] * 3
