"""What is looked at before anything starts."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from athanore import AgentDispatcher, ConfigurationError, JsonFileAdapter, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.launch.inspection.checks import check_app
from athanore.models import AgentOutcome, AgentResult, Queue
from athanore.routing.route_rules import wrong_queues


def prompt(task_id: str, task_name: str) -> str:
    return ""


def app(command: str = sys.executable, **route: object) -> AgentDispatcher:
    """An app with a route from Todo, over a board with Todo, In Progress and Done."""
    board = MemoryAdapter({"Todo": [], "In Progress": [], "Done": []})
    dispatcher = AgentDispatcher(command=command, queue_backend=board)
    dispatcher.route("Todo", **route)(prompt)  # pyright: ignore[reportArgumentType]
    return dispatcher


def test_an_app_that_can_work_passes() -> None:
    check_app(app(dead_letter_queue="Done"))


def test_an_app_without_routes_does_not() -> None:
    with pytest.raises(ConfigurationError, match="has no routes"):
        check_app(AgentDispatcher(queue_backend=MemoryAdapter({})))


@pytest.mark.parametrize(
    "option", ["in_progress_queue", "dead_letter_queue", "done_queue", "on_cancel"]
)
def test_every_queue_that_a_route_names_must_exist(option: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_app(app(**{option: "Dnoe"}))
    assert f"the board has no queue 'Dnoe' ({option}). Did you mean 'Done'?" in str(caught.value)


def test_a_board_that_is_missing_is_made_with_the_queues_of_the_routes(tmp_path: Path) -> None:
    board = JsonFileAdapter(tmp_path / "board.json")
    dispatcher = AgentDispatcher(command=sys.executable, queue_backend=board)
    dispatcher.route("Todo", dead_letter_queue="Failed")(prompt)
    check_app(dispatcher)
    assert [q.name for q in board.list_queues()] == ["Todo", "In Progress", "Failed"]


def test_a_command_is_looked_for_where_the_agent_will_find_it(tmp_path: Path) -> None:
    program = tmp_path / "my-agent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    check_app(app("my-agent", env={"PATH": str(tmp_path)}))
    check_app(app("./my-agent", cwd=tmp_path))
    with pytest.raises(ConfigurationError, match="'my-agent' is not found on PATH"):
        check_app(app("my-agent"))
    with pytest.raises(ConfigurationError, match=r"'\./my-agent' is not found;"):
        check_app(app("./my-agent"))


@pytest.mark.parametrize("command", ["'open", '"'])
def test_a_command_that_cannot_be_split_is_shown(command: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be split into words"):
        check_app(app(command))


def test_a_users_adapter_needs_no_command() -> None:
    class Adapter:
        async def run(self, job: AgentJob) -> AgentResult:
            return AgentResult(AgentOutcome.SUCCEEDED)

    check_app(app("", agent=Adapter()))


def test_what_is_wrong_names_the_route_and_not_its_queue(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Route 'fix': cwd=.* does not exist"):
        check_app(app(name="fix", cwd=tmp_path / "gone"))


class ByOtherNames(MemoryAdapter):
    """A board that knows its queues by longer names, too, and one of which is closed."""

    def get_queue(self, queue_name: str) -> Queue:
        return super().get_queue(queue_name.removeprefix("Board."))

    def list_queues(self) -> list[Queue]:
        return [replace(q, is_open=q.name != "Closed") for q in super().list_queues()]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"queue_name": "Todo", "done_queue": "Done"}, []),
        ({"queue_name": "Tood", "done_queue": "Dnoe"}, ["no queue 'Tood'", "no queue 'Dnoe'"]),
        ({"queue_name": "Todo", "done_queue": "Board.Done"}, ["is called 'Done' in another"]),
        ({"queue_name": "Closed", "done_queue": None}, ["closed on the board"]),
    ],
    ids=["fine", "missing", "another name", "closed"],
)
def test_all_wrong_queues_of_a_route_are_told(options: dict[str, str], says: list[str]) -> None:
    board = ByOtherNames(["Todo", "Done", "Closed"])
    found = wrong_queues(SimpleNamespace(**options), board, board.list_queues())
    assert len(found) == len(says)
    assert all(words in wrong.says for words, wrong in zip(says, found, strict=True))


def test_a_start_tells_all_wrong_queues_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_app(app(done_queue="Dnoe", dead_letter_queue="Failed"))
    assert "'Dnoe' (done_queue)" in str(caught.value)
    assert "'Failed' (dead_letter_queue)" in str(caught.value)
