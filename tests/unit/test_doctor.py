"""What `athanore doctor` says of what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore import JsonFileAdapter, ScriptedAgent
from athanore.dispatcher import AgentDispatcher
from athanore.launch.doctor import board_finding, judge_prefect
from athanore.launch.findings import Level
from athanore.queue_adapters.sql import SqlBoard
from tests.harness import prompt


@pytest.mark.parametrize("version", ["3.8.8", "3.9.1", "3.9.0rc1"])
def test_a_prefect_that_fits_is_no_finding(version: str) -> None:
    assert judge_prefect(version) is None


@pytest.mark.parametrize("version", ["2.20.1", "3.7.4", "3.10.0", "3.80.0"])
def test_a_prefect_that_does_not_fit_is_told_with_those_that_do(version: str) -> None:
    found = judge_prefect(version)
    assert found is not None
    assert found.level is Level.FAIL
    assert found.says == f"version {version} is installed; Athanore is tested with 3.8 and 3.9."


@pytest.mark.parametrize("kind", [JsonFileAdapter, SqlBoard])
def test_a_board_that_is_not_there_yet_is_not_made(
    kind: type[JsonFileAdapter | SqlBoard], tmp_path: Path
) -> None:
    file = tmp_path / "board"
    board = kind(file)
    dispatcher = AgentDispatcher(name="t", default_agent=ScriptedAgent(), queue_backend=board)
    dispatcher.route("Todo")(prompt)
    found = board_finding(dispatcher)
    assert (found.level, found.says) == (Level.OK, f"{file} is made at the first start")
    assert list(tmp_path.iterdir()) == []
    board.prepare(["Todo", "In Progress"])
    assert board_finding(dispatcher).says == f"{file}: 2 queues, 0 tasks"
