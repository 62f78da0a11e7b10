"""The version of an app: what changes it, and what does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from athanore import AgentDispatcher, GitWorkspace, MemoryAdapter
from athanore.agent_adapters.base import AgentAdapter, AgentJob
from athanore.agent_adapters.claude.adapter import ClaudeAgentAdapter
from athanore.agent_adapters.scripted import Fail, Say, ScriptedAgent
from athanore.models import AgentOutcome, AgentResult
from athanore.routing.routes import Route
from athanore.runtime.versions import app_version


def prompt(task_id: str, task_name: str) -> str:
    return f"Do {task_id}: {task_name}"


def another(task_id: str, task_name: str) -> str:
    return f"Leave {task_id}: {task_name}"


def app(
    agent: AgentAdapter | None = None, function: Callable[..., str] = prompt, **options: Any
) -> AgentDispatcher:
    made = AgentDispatcher(
        name="v", queue_backend=MemoryAdapter(["Todo", "In Progress"]), default_agent=agent
    )
    made.route("Todo", **options)(function)
    return made


class Own:
    """A user's adapter."""

    def __init__(self, model: str, api_key: str = "", inner: object = None) -> None:
        self.model = model
        self._api_key = api_key
        self._inner = inner
        self.runs = 0  # no argument

    async def run(self, job: AgentJob) -> AgentResult:
        return AgentResult(AgentOutcome.SUCCEEDED)


class Handed(BaseModel):
    """What a user's agent hands in."""


@dataclass
class Plain:
    """A user's adapter that is a dataclass."""

    model: str
    api_key: str = field(default="", repr=False)

    async def run(self, job: AgentJob) -> AgentResult:
        return AgentResult(AgentOutcome.SUCCEEDED)


@pytest.mark.parametrize(
    "option",
    [
        {"subagent": "reviewer"}, {"model": "opus"}, {"permission_mode": "bypassPermissions"},
        {"max_turns": 3}, {"max_budget_usd": 100}, {"cwd": "/srv"}, {"resume_on_retry": True},
        {"allowed_tools": ["Bash"]}, {"disallowed_tools": ["Bash"]}, {"cli_path": "/bin/true"},
        {"append_system_prompt": "Be brief."}, {"extra_args": {"effort": "high"}},
    ],
    ids=lambda option: next(iter(option)),
)  # fmt: skip
def test_each_argument_of_the_claude_adapter_counts(option: dict[str, Any]) -> None:
    assert app_version(app(ClaudeAgentAdapter(**option))) != app_version(app(ClaudeAgentAdapter()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Own("a"), Own("b")),
        (Own("a", inner=Own("x")), Own("a", inner=Own("y"))),
        (Plain("a"), Plain("b")),
        (ScriptedAgent([Say("a")]), ScriptedAgent([Fail("a")])),
        (None, Own("a")),
    ],
)
def test_arguments_of_any_agent_count(one: AgentAdapter | None, other: AgentAdapter) -> None:
    assert app_version(app(one)) != app_version(app(other))


def test_secrets_and_what_an_agent_has_done_do_not_count() -> None:
    used = Own("a", api_key="s3cret")
    used.runs = 7
    assert app_version(app(used)) == app_version(app(Own("a")))
    assert app_version(app(Plain("a", "s3cret"))) == app_version(app(Plain("a")))
    one, other, third = (app(env=env) for env in ({"A": "1"}, {"A": "2"}, {"B": "1"}))
    assert app_version(one) == app_version(other) != app_version(third)


def test_an_agent_that_knows_its_app_has_a_version() -> None:
    agent = Own("a")
    agent._inner = dispatcher = app(agent)  # pyright: ignore[reportPrivateUsage]
    assert app_version(dispatcher) == app_version(dispatcher)


@pytest.mark.parametrize(
    "options", [{"base": "dev"}, {"setup": "uv sync"}, {"root": "/srv"}, {"keep": None}], ids=str
)
def test_arguments_of_a_workspace_count(options: dict[str, Any]) -> None:
    one, other = app(workspace=GitWorkspace("x")), app(workspace=GitWorkspace("x", **options))
    assert app_version(one) != app_version(other)
    assert app_version(one) == app_version(app(workspace=GitWorkspace("x")))


# By what is kept now, so that a new option needs no line here.
ANOTHER: dict[type, Any] = {
    timedelta: timedelta(seconds=31),
    bool: True,
    int: 9,
    float: 0.5,
    str: "Other",
    type(None): 1,
    tuple: ("x",),
    dict: {"A": "1"},
}
SPECIAL: dict[str, Any] = {
    "prompt": another,
    "retry_backoff": 2,
    "agent": Own("a"),
    "fallback_agent": Own("a"),
    "cwd": "/srv",
    "dead_letter_queue": "Failed",
    "done_queue": "Done",
    "host": "macos",
    "label_limits": {"big": 1},
    "on_cancel": "Aside",
    "needs": ("comments",),
    "expects": "move",
    "publish": "branch",
    "output": Handed,
    "merged_queue": "Merged",
    "reactions": ("conflict",),
    "then": another,
    "workspace": GitWorkspace("repo"),
    "waiting_queue": "Waiting",
    "ask_default": "keep it",
    "approve_before": "start",
    "rejected_queue": "Rejected",
}


@pytest.mark.parametrize("option", [f.name for f in fields(Route)])
def test_each_option_of_a_route_counts(option: str) -> None:
    one, other = app(), app()
    routes = cast(dict[str, Route], other.routes)
    value = SPECIAL.get(option) or ANOTHER[type(getattr(routes["Todo"], option))]
    routes["Todo"] = replace(routes["Todo"], **{option: value})
    assert app_version(one) != app_version(other)


def test_arguments_of_a_partial_prompt_function_count() -> None:
    def written(style: str, task_id: str, task_name: str) -> str:
        return style + task_id + task_name

    versions = {app_version(app(function=partial(written, style))) for style in ("a", "b")}
    assert len(versions) == 2


def test_every_process_finds_the_same_version() -> None:
    code = (
        "from tests.unit.test_versions import Own, app, app_version\n"
        "print(app_version(app(Own({'b', 'a', 'c', 'd'}, inner=object()))))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True, cwd=Path(__file__).parents[2],
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1
