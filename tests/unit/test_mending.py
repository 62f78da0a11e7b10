"""`athanore doctor --fix` makes the queues that are missing, and none that is mistyped."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore import AgentDispatcher, JsonFileAdapter
from athanore.errors import ConfigurationError
from athanore.launch.inspection.checks import check_app
from athanore.launch.inspection.mending import make_queues
from tests.harness import prompt


def app(file: Path) -> AgentDispatcher:
    dispatcher = AgentDispatcher("true", name="mend", queue_backend=JsonFileAdapter(file))
    dispatcher.route("Todo", done_queue="Done", dead_letter_queue="Given up")(prompt)
    dispatcher.route("Todos", in_progress_queue="At work", done_queue="Done")(prompt)
    return dispatcher


def test_only_what_is_missing_and_like_no_other_is_made(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    assert make_queues(app(file)) == [] and not file.exists(), "the first start makes it"
    file.write_text('{"queues": {"Todo": [], "In Progress": []}}')
    assert sorted(make_queues(app(file))) == ["At work", "Done", "Given up"]
    named = [queue.name for queue in JsonFileAdapter(file).list_queues()]
    assert sorted(named) == ["At work", "Done", "Given up", "In Progress", "Todo"]
    assert make_queues(app(file)) == []


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_start_that_fails_for_want_of_a_queue_names_the_command_that_makes_it(
    tmp_path: Path, scheduled: bool
) -> None:
    file = tmp_path / "board.json"
    file.write_text('{"queues": {"Todo": [], "In Progress": []}}')
    dispatcher = AgentDispatcher("true", name="mend", queue_backend=JsonFileAdapter(file))
    dispatcher.route("Todo", done_queue=None if scheduled else "Finished")(prompt)
    if scheduled:
        dispatcher.every("0 7 * * *", queue="Finished", name="Look")
    with pytest.raises(ConfigurationError) as told:
        check_app(dispatcher, "other.py:app")
    command = "athanore doctor other.py:app --fix"
    assert str(told.value).endswith(f"To have 'Finished' made: {command}")
    assert make_queues(dispatcher) == ["Finished"]
    check_app(dispatcher)


def test_nothing_is_offered_for_a_name_that_may_be_mistyped(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    file.write_text('{"queues": {"Todo": [], "In Progress": [], "Done": []}}')
    dispatcher = AgentDispatcher("true", name="mend", queue_backend=JsonFileAdapter(file))
    dispatcher.route("Todo", done_queue="Dome")(prompt)
    with pytest.raises(ConfigurationError, match="Did you mean 'Done'") as told:
        check_app(dispatcher)
    assert "--fix" not in str(told.value)
