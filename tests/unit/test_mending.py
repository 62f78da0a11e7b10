"""`athanore doctor --fix` makes the queues that are missing, and none that is mistyped."""

from __future__ import annotations

from pathlib import Path

from athanore import AgentDispatcher, JsonFileAdapter
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
