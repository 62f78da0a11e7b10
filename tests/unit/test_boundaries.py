"""Any text across each boundary, in both directions, without a Prefect.

What comes in is cleaned where it enters, and what goes out is escaped for where it goes. A new way
in or out gets a row here. The whole way through an app is in `integration/test_text_boundaries.py`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter, ValidationError

from athanore import JsonFileAdapter, MemoryAdapter, Task
from athanore.agent_adapters.common.output import LineSplitter
from athanore.api.models import Words
from athanore.cli import output
from athanore.launch.terminal import display
from athanore.queue_adapters.sql import SqlBoard
from athanore.routing.routes import Route
from athanore.runtime.secrets.environment import agent_environment
from athanore.runtime.secrets.redaction import Redactor
from athanore.texts import (
    as_json,
    cut_lines,
    is_storable,
    markdown,
    operand,
    readable,
    shown,
    storable,
)
from tests.integration.test_text_boundaries import TEXTS, check_markdown
from tests.unit.test_terminal import is_harmless, on_screen


def prompt(task_id: str, task_name: str) -> str:
    return f"{task_id} {task_name}"


def over_the_api(text: str) -> None:
    try:
        taken = TypeAdapter(Words).validate_json(json.dumps(text))
    except ValidationError:
        assert not is_storable(text), "only what is no text is refused"
    else:
        assert is_storable(taken)
        assert readable(taken) == taken


def from_an_agent(text: str) -> None:
    splitter = LineSplitter(1000)
    written = text.encode("utf-8", "surrogatepass")
    lines = [*splitter.feed(written[:7]), *splitter.feed(written[7:]), *splitter.close()]
    for line in lines:
        said = Redactor(()).text(line)
        assert is_storable(said)
        assert readable(said) == said
        assert len(cut_lines(said, 100, 5)) <= 5 * 130


def as_an_argument(text: str) -> None:
    given = operand(text.replace("\0", "").encode("utf-8", "replace").decode())
    assert not given.startswith("-")
    ran = subprocess.run(
        ["/bin/sh", "-c", 'printf "%s" "$1"', "sh", given], capture_output=True, check=True
    )
    assert ran.stdout.decode() == given


def in_the_environment(text: str) -> None:
    env = agent_environment(
        Route("Todo", prompt, command="true"),
        Task(storable(text) or "1", storable(text), "Todo"),
        attempt=1,
        api_url="http://127.0.0.1:1",
        base={},
    )
    ran = subprocess.run(["/usr/bin/env", "-0"], env=env, capture_output=True, check=True)
    assert ran.stdout.count(b"ATHANORE_TASK_NAME=") >= 1


def on_a_json_board(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        board = JsonFileAdapter(Path(folder) / "board.json", user=None)
        board.prepare(["Todo"])
        on_a_board(board, text)
        again = JsonFileAdapter(board.path, user=None)
        assert again.get_ready_tasks(["Todo"])[0].description == readable(text)


def on_a_sql_board(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        board = SqlBoard(Path(folder) / "board.db")
        board.prepare(["Todo"])
        try:
            on_a_board(board, text)
        finally:
            board.close()


def on_a_board(board: JsonFileAdapter | SqlBoard | MemoryAdapter, text: str) -> None:
    words = readable(text)
    made = board.create_task("Todo", f"N {words}", words)
    board.add_comment(made.id, f"C {words}")
    task = board.get_task(made.id)
    assert (task.name, task.description) == (f"N {words}", words)
    assert [c.text for c in task.comments] == [f"C {words}"]


def on_a_terminal(text: str) -> None:
    for drawn in (display.text(text), display.table(("a",), [(text,)]), display.state_text(text)):
        assert is_harmless(on_screen(drawn)), ascii(text)
    assert shown(shown(text)) == shown(text)


def as_json_on_a_terminal(text: str) -> None:
    assert is_harmless(as_json({text: [text]}))
    assert json.loads(as_json(output.plain([text]))) == [text]


def in_markdown(text: str) -> None:
    line = markdown(readable(text))
    check_markdown(f"# {line}\n\n| a | b |\n| --- | --- |\n| {line} | x |\n", ())
    assert "\n" not in line


def in_a_metric(text: str) -> None:
    words, registry = readable(text), CollectorRegistry()
    Counter("athanore_x", "x", ("route",), registry=registry).labels(words).inc()
    parsed = text_string_to_metric_families(generate_latest(registry).decode())
    assert {s.labels["route"] for family in parsed for s in family.samples} == {words}


type Way = Callable[[str], None]

WAYS: dict[str, Way] = {
    way.__name__.replace("_", " "): way
    for way in (
        over_the_api, from_an_agent,
        as_an_argument, in_the_environment, on_a_json_board, on_a_sql_board, on_a_terminal,
        as_json_on_a_terminal, in_markdown, in_a_metric,
    )
}  # fmt: skip

_HEALTH = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=15, deadline=None, suppress_health_check=_HEALTH, database=None)
@given(text=TEXTS)
def test_any_text(way: str, text: str) -> None:
    WAYS[way](text)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=1000, deadline=None, suppress_health_check=_HEALTH, database=None)
@given(text=TEXTS)
def test_very_many_texts(way: str, text: str) -> None:
    WAYS[way](text)
