"""How an app on Planka may be set up: what a start accepts, the examination accepts, too."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from athanore import AgentDispatcher, ConfigurationError
from athanore.launch.inspection.checks import check_app
from athanore.launch.inspection.doctor import board_finding
from athanore.launch.inspection.findings import Level
from athanore.testing.doubles.planka.server import PlankaDouble


def prompt(task_id: str, task_name: str) -> str:
    return ""


def app(
    planka: PlankaDouble, queue_name: str, boards: list[str] | None, **route: Any
) -> AgentDispatcher:
    adapter = planka.board(boards=boards).create_adapter()
    dispatcher = AgentDispatcher(command=sys.executable, queue_backend=adapter)
    dispatcher.route(queue_name, **route)(prompt)
    return dispatcher


FULL = {"in_progress_queue": "P.B.In Progress", "done_queue": "P.B.Done"}
SHORT = {"in_progress_queue": "In Progress", "done_queue": "Done"}


@pytest.mark.parametrize(
    ("queue", "boards", "route", "refused"),
    [
        ("P.B.Todo", None, FULL, ""),
        ("Todo", ["P.B"], SHORT, ""),
        ("{list}", None, FULL, ""),
        ("P.B.{list}", ["P.B"], FULL, ""),
        ("{board}.Todo", ["{board}"], SHORT, ""),
        ("P.B.Todo", None, SHORT, "no queue 'In Progress'"),  # on which of the boards?
        ("P.B.Tdo", None, FULL, "Did you mean 'P.B.Todo'"),
        (
            "Todo",
            ["P.B"],
            {"in_progress_queue": "In Progress", "done_queue": "P.B.In Progress"},
            "in another option",
        ),
        ("P.B.Closed", None, FULL, "closed on the board"),
        ("P.B.Todo", None, FULL | {"done_queue": "P.B.Closed"}, ""),
        ("P.B.Todo", None, FULL | {"in_progress_queue": "P.B.Closed"}, ""),
    ],
)
def test_a_start_and_the_examination_agree(
    planka: PlankaDouble, queue: str, boards: list[str] | None, route: dict[str, str], refused: str
) -> None:
    board = planka.list("Todo")["boardId"]
    planka.state.add_list(board, "closed", "Closed", 9)
    planka.add_board("P", "Other", ("Todo 2",))
    known = {"{list}": planka.list("Todo")["id"], "{board}": board}
    for mark, value in known.items():
        queue = queue.replace(mark, value)
        boards = boards and [b.replace(mark, value) for b in boards]
    finding = board_finding(app(planka, queue, boards, **route))
    if not refused:
        assert finding.level is Level.OK, finding
        check_app(app(planka, queue, boards, **route))
        return
    assert finding.level is Level.FAIL
    assert refused in f"{finding.says} {finding.mend}"
    with pytest.raises(ConfigurationError, match=refused):
        check_app(app(planka, queue, boards, **route))
