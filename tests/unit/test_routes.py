"""A route's prompt, its command line and its rules."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanore import AgentDispatcher, CliAgentAdapter, Route, ScriptedAgent, Task
from athanore.errors import RouteError

TASK = Task(id="7", name="Fix crash", queue_name="Todo", description="It crashes.")


def prompt(task_id: str, task_name: str) -> str:
    return f"{task_id}: {task_name}"


async def asynchronous(task_id: str, task_name: str) -> str:
    return f"{task_id}: {task_name}"


def with_task(task_id: str, task_name: str, task: Task) -> str:
    return f"{task_id}: {task_name}: {task.description}"


def with_all(task_id: str, task_name: str, *, attempt: int, task: Task) -> str:
    return f"{attempt}: {task.description}"


def with_default(task_id: str, task_name: str, tone: str = "kind") -> str:
    return f"{task_id}: {tone}"


def returns_awaitable(task_id: str, task_name: str) -> Awaitable[str]:
    return asynchronous(task_id, task_name)


class Callable_:
    async def __call__(self, task_id: str, task_name: str) -> str:
        return f"{task_id} from an object"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (prompt, "7: Fix crash"),
        (asynchronous, "7: Fix crash"),
        (with_task, "7: Fix crash: It crashes."),
        (with_all, "2: It crashes."),
        (with_default, "7: kind"),
        (returns_awaitable, "7: Fix crash"),
        (Callable_(), "7 from an object"),
    ],
)
async def test_the_prompt_function_gets_what_it_asks_for(
    function: Callable[..., Any], expected: str
) -> None:
    AgentDispatcher().route("Todo")(function)  # its signature is accepted
    assert await Route("Todo", function).make_prompt(TASK, attempt=2) == expected


async def test_a_prompt_function_that_blocks_does_not_run_in_the_loops_thread() -> None:
    def where(task_id: str, task_name: str) -> str:
        return threading.current_thread().name

    assert await Route("Todo", where).make_prompt(TASK, 1) != threading.current_thread().name


async def test_a_prompt_that_is_no_string_is_refused() -> None:
    def nothing(task_id: str, task_name: str) -> Any:
        return None

    with pytest.raises(TypeError, match="'Todo' must return a string, not NoneType"):
        await Route("Todo", nothing).make_prompt(TASK, 1)


def too_few(task_id: str) -> str:
    return ""


def unknown_third(task_id: str, task_name: str, other: str) -> str:
    return ""


def by_keyword_only(task_id: str, *, task_name: str) -> str:
    return ""


@pytest.mark.parametrize("function", [too_few, unknown_third, by_keyword_only])
def test_a_function_that_cannot_be_called_is_refused_at_once(function: Any) -> None:
    with pytest.raises(RouteError, match=f"{function.__name__}.* must take \\(task_id, task_name"):
        AgentDispatcher().route("Todo")(function)
    with pytest.raises(RouteError, match="Route 'fix'"):
        AgentDispatcher().route("Todo", name="fix")(function)


@given(st.text(), st.lists(st.text(), max_size=3))
def test_no_shell_reads_the_prompt_or_the_arguments(text: str, args: list[str]) -> None:
    route = Route("Todo", prompt, command="my-agent --fast", args=tuple(args))
    *words, last = route.format_command(text)
    assert words == ["my-agent", "--fast", *args]
    assert last.removeprefix("\n") == text.removeprefix("\n")


def test_a_command_may_be_a_path_with_spaces_in_quotes() -> None:
    route = Route("Todo", prompt, command="'/my tools/agent' -x")
    assert route.format_command("p") == ["/my tools/agent", "-x", "p"]


@pytest.mark.parametrize(
    ("route", "description"),
    [
        (Route("Todo", prompt, command="a", args=("--b", "c d")), "a --b 'c d'"),
        (Route("Todo", prompt, agent=ScriptedAgent()), "ScriptedAgent"),
        (Route("Todo", prompt), "no command"),
    ],
)
def test_a_route_says_what_it_starts(route: Route, description: str) -> None:
    assert route.describe() == description


@pytest.mark.parametrize(
    ("route", "description"),
    [
        (Route("Todo", prompt), "CliAgentAdapter (codex)"),
        (Route("Todo", prompt, agent=ScriptedAgent()), "ScriptedAgent"),
    ],
)
def test_the_default_agent_is_told_where_a_route_names_none(route: Route, description: str) -> None:
    assert route.describe(CliAgentAdapter("codex")) == description


WRONG: list[tuple[str, Any]] = [
    ("queue_name", " "),
    ("in_progress_queue", ""),
    ("in_progress_queue", "Todo"),
    ("dead_letter_queue", "Todo"),
    ("done_queue", "Todo"),
    ("on_cancel", "Todo"),
    ("poll_interval", timedelta(0)),
    ("timeout", timedelta(seconds=-1)),
    ("timeout", "soon"),
    ("stall_timeout", timedelta(0)),
    ("max_concurrent", 0),
    ("pause_after_failures", 0),
    ("pause_after_failures", "5"),
    ("max_retries", -1),
    ("max_retries", 1.5),
    ("retry_delay", -1),
    ("retry_backoff", 0.5),
    ("retry_max_delay", 0),
    ("retry_jitter", 1.5),
    ("max_crashes", -1),
    ("command", 7),
    ("env", {"A": 1}),
    ("cwd", 7),
]


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_a_wrong_option_is_refused_by_its_name(option: str, value: object) -> None:
    with pytest.raises(RouteError, match=f"{option}="):
        replace(Route("Todo", prompt), **{option: value})
    with pytest.raises(RouteError, match=f"{option}="):
        given: dict[str, Any] = {"queue_name": "Todo", option: value}
        AgentDispatcher().route(**given)(prompt)
