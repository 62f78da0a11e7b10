"""The options of a route are written down once; everything else is made from that."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

import athanore
from athanore import NO_DEAD_LETTER, AgentDispatcher, Route
from athanore.api.routers.routes import RouteModel, shown_options
from athanore.errors import ConfigurationError, RouteError
from athanore.routing.options import (
    INHERIT,
    Option,
    count,
    descriptions,
    duration,
    options_of,
    shown,
    takes,
)
from athanore.routing.route_options import OPTIONS, RouteOptions
from athanore.runtime.routes import definitions
from athanore.runtime.routes.definitions import sent_options
from tests.unit.test_options_table import markdown_rows


def prompt(task_id: str, task_name: str) -> str:
    return f"{task_id}: {task_name}"


@dataclass(frozen=True)
class More(RouteOptions):
    """The schema with two options more."""

    cool_down: Option[float | timedelta | None, timedelta | None] = duration(none=True)
    """Waits after an agent; `None` does not.

    Seconds or a `timedelta`. Default: none."""

    batch: Option[int, int] = count(1, least=1, column="batch")
    """Tasks at once."""


class App:
    """An app whose routes have these options."""

    @takes(More)
    def route(self, options: More) -> More:
        """Watch a queue."""
        return options


def test_a_new_option_is_an_argument_of_the_decorator() -> None:
    parameters = inspect.signature(App.route).parameters
    assert (parameters["cool_down"].default, parameters["batch"].default) == (None, 1)
    assert list(parameters)[:2] == ["self", "queue_name"]
    made = App().route("Todo", cool_down=90, batch=2)
    assert (made.cool_down, made.batch) == (timedelta(seconds=90), 2)
    with pytest.raises(RouteError, match="Route 'Todo': batch=0 must be at least 1"):
        App().route("Todo", batch=0)
    with pytest.raises(ConfigurationError, match="no option batsh=; did you mean batch="):
        App().route("Todo", batsh=1)  # pyright: ignore[reportCallIssue]


def test_a_new_option_can_be_sent_and_read_over_http() -> None:
    sent: Any = sent_options(More)
    assert sent.model_validate({"batch": 3.0}).said() == {"batch": 3}
    with pytest.raises(ValidationError, match="cool_down"):
        sent.model_validate({"cool_down": -1})
    described = sent.model_json_schema()["properties"]["cool_down"]["description"]
    assert described == "Waits after an agent; null does not."
    assert set(shown_options(More).model_fields) - set(RouteModel.model_fields) == {
        "cool_down",
        "batch",
    }
    assert shown(More("Todo", cool_down=90))["cool_down"] == 90


def test_a_new_option_is_on_the_page_and_in_the_table_of_the_command() -> None:
    rows = markdown_rows(More)
    assert "| `cool_down` | `None` | Waits after an agent; `None` does not. |" in rows
    assert [o.column for o in options_of(More).values() if o.column][-1] == "batch"


def test_only_one_place_has_the_names_of_the_options() -> None:
    """A second list of them would have to be kept by hand."""
    unusual = {"retry_jitter", "retry_backoff", "stall_timeout", "pause_after_failures"}
    root = Path(athanore.__file__).parent
    found = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if unusual <= set(_words(path))
    ]
    assert found == ["routing/route_options.py"]


def _words(path: Path) -> list[str]:
    words: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Name(id=word) | ast.Constant(value=str(word)) | ast.Attribute(attr=word):
                words.append(word)
            case ast.keyword(arg=str(word)) | ast.arg(arg=word):
                words.append(word)
            case _:
                pass
    return words


@pytest.mark.parametrize("name", list(OPTIONS))
def test_each_option_says_what_it_does_and_what_holds_without_it(name: str) -> None:
    text = descriptions(RouteOptions)[name]
    summary, _, details = text.partition("\n\n")
    assert summary.endswith(".")
    assert "Default" in details, "its default in words"
    option = OPTIONS[name]
    if option.kind.shown is float and isinstance(
        option.__get__(Route("Todo", prompt), Route), timedelta
    ):
        assert "Seconds or a `timedelta`" in details
    if option.inherits:
        assert f"inherits `{option.inherits}`" in details


def test_what_is_sent_and_shown_is_all_but_what_is_an_object_of_python() -> None:
    of_code = {n for n, o in OPTIONS.items() if o.kind.sent is None}
    sent = set(definitions.RouteOptions.model_fields)
    assert of_code == {"agent", "fallback_agent", "match", "needs", "output", "workspace"}
    assert sent == set(OPTIONS) - of_code | {"prompt"}
    assert set(OPTIONS) - of_code <= set(RouteModel.model_fields)


def test_the_fields_of_a_route_are_its_queue_the_options_and_its_functions() -> None:
    assert [f.name for f in fields(Route)] == ["queue_name", *OPTIONS, "prompt", "then"]
    elsewhere = {"AgentAdapter": object, "WorkspaceProvider": object}
    assert set(get_type_hints(RouteOptions, localns=elsewhere)) > set(OPTIONS)


def test_options_inherit_from_the_dispatcher_and_without_one_from_the_settings() -> None:
    dispatcher = AgentDispatcher(
        command="c", poll_interval=7, agent_timeout=8, max_retries=2, dead_letter_queue="Failed",
        max_crashes=9,
    )  # fmt: skip
    dispatcher.route("Todo")(prompt)
    dispatcher.route("Other", timeout=None, dead_letter_queue=NO_DEAD_LETTER, command="")(prompt)
    route, other, alone = *dispatcher.routes.values(), Route("Todo", prompt)
    assert (route.command, route.poll_interval, route.timeout) == (
        "c", timedelta(seconds=7), timedelta(seconds=8),
    )  # fmt: skip
    assert (route.max_retries, route.dead_letter_queue, route.max_crashes) == (2, "Failed", 9)
    assert (other.command, other.timeout, other.dead_letter_queue) == ("", None, None)
    assert (alone.poll_interval, alone.timeout) == (timedelta(seconds=30), None)
    assert (alone.max_retries, alone.max_crashes, alone.dead_letter_queue) == (0, 3, None)
    assert RouteOptions("Todo", timeout=INHERIT).timeout is None


def test_null_over_http_is_a_value_only_where_none_is_one() -> None:
    assert {n for n, o in OPTIONS.items() if o.null_counts and o.kind.sent is not None} == {
        "timeout", "priority", "done_queue", "on_cancel", "stall_timeout", "max_concurrent",
        "retry_delay", "retry_max_delay", "max_rounds", "resume_after", "cwd", "host",
        "max_cost_usd", "max_tokens", "task_max_cost_usd", "task_max_tokens",
        "day_max_cost_usd", "day_max_tokens",
        "expects", "publish", "ask_timeout", "ask_default", "waiting_queue", "merged_queue",
        "approve_before", "rejected_queue",
    }  # fmt: skip
