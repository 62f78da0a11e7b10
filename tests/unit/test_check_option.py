"""How `check=` is said, and what a run remembers of one that failed."""

from __future__ import annotations

from typing import Any

import pytest

from athanore import AgentOutcome, AgentResult
from athanore.errors import RouteError
from athanore.models import Fault, FaultKind
from athanore.routing.route_options import RouteOptions
from athanore.runs.records.record import RunRecord


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (None, ()),
        ("pytest -q", ("pytest -q",)),
        (["pytest", "ruff check 'a b'"], ("pytest", "ruff check 'a b'")),
        ([], ()),
    ],
    ids=["nothing", "a command", "a list", "an empty list"],
)
def test_it_is_a_command_or_a_list_of_them(said: Any, kept: tuple[str, ...]) -> None:
    assert RouteOptions("Todo", check=said).check == kept


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("", "'' names no program"),
        (["pytest", "  "], "'  ' names no program"),
        ("pytest 'a", '"pytest \'a" cannot be split into words: No closing quotation'),
        (1, "must be a command, or a list of commands"),
        ([1], "must be a command, or a list of commands"),
    ],
    ids=["empty", "spaces", "a quote", "a number", "a list of numbers"],
)
def test_what_is_no_command_is_refused(said: Any, hint: str) -> None:
    with pytest.raises(RouteError) as caught:
        RouteOptions("Todo", check=said)
    assert "Route 'Todo': check=" in str(caught.value)
    assert hint in str(caught.value)


def test_a_run_remembers_what_was_not_passed_until_its_next_attempt_ends() -> None:
    failed = AgentResult(
        AgentOutcome.FAILED,
        "check failed: pytest (exit 1)",
        output_tail="x" * 5000,
        fault=Fault(FaultKind.CHECK),
    )
    assert failed.counts
    record = RunRecord().ended(failed)
    assert record.check.startswith("check failed: pytest (exit 1)\nxxx")
    assert len(record.check) == 4000
    assert RunRecord.parse(record.dump()).check == record.check
    assert record.ended(AgentResult(AgentOutcome.FAILED, "exit code 1")).check == ""
