"""Faults of a set-up: found before a task is touched, and never paid for by one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentDispatcher, ConfigurationError, MemoryAdapter
from athanore.agent_adapters.claude import ClaudeAgentAdapter
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.launch.inspection.agents import agent_findings
from athanore.launch.inspection.checks import check_app
from athanore.launch.inspection.findings import Level
from athanore.models import AgentOutcome
from tests.harness import prompt
from tests.unit.test_subprocess_agent import job_for


def app(**route: Any) -> AgentDispatcher:
    board = MemoryAdapter(["Todo", "Review", "In Progress", "Done"])
    dispatcher = AgentDispatcher(queue_backend=board)
    options: dict[str, Any] = {"command": "true", **route}
    dispatcher.route("Todo", **options)(prompt)
    return dispatcher


def script(folder: Path, text: str, mode: int = 0o755) -> str:
    (folder / "agent").write_text(text)
    (folder / "agent").chmod(mode)
    return str(folder / "agent")


type Fault = Callable[[Path], dict[str, Any]]

FAULTS: dict[str, tuple[Fault, str]] = {
    "no such folder": (lambda f: {"cwd": f / "gone"}, "gone' does not exist"),
    "a file as folder": (lambda f: {"cwd": script(f, "")}, "agent' is no folder"),
    "a folder below home": (lambda _: {"cwd": "~/gone"}, "gone' does not exist"),
    "no such command": (lambda _: {"command": "no-such-agent"}, "is not found on PATH"),
    "no such file": (lambda f: {"command": f"{f}/gone"}, "is not found"),
    "not executable": (lambda f: {"command": script(f, "", 0o644)}, "is not found"),
    "a folder as command": (lambda f: {"command": str(f)}, "is not found"),
    "no interpreter": (lambda f: {"command": script(f, "#!/no/python\n")}, "'/no/python'"),
    "no command": (lambda _: {"command": ""}, "nothing to run"),
    "PATH without it": (lambda f: {"env": {"PATH": str(f)}}, "is not found on PATH"),
    "no Claude CLI": (
        lambda f: {"agent": ClaudeAgentAdapter(cli_path=f / "claude")},
        "the Claude CLI was not found",
    ),
    "Claude's folder": (
        lambda f: {"agent": ClaudeAgentAdapter(cli_path=script(f, ""), cwd=f / "gone")},
        "gone' does not exist",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_start_and_doctor_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plant, says = FAULTS[name]
    route = plant(tmp_path)
    (finding,) = agent_findings(app(**route))
    assert finding.level is Level.FAIL
    assert says in f"{finding.says}; {finding.mend}"
    with pytest.raises(ConfigurationError, match="Route 'Todo'") as caught:
        check_app(app(**route))
    assert says in str(caught.value)


def test_a_home_folder_is_meant_by_its_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    dispatcher = app(cwd="~")
    check_app(dispatcher)
    assert dispatcher.routes["Todo"].cwd == tmp_path


NOT_NOW: dict[str, Callable[[Path], dict[str, Any]]] = {
    "no such folder": lambda f: {"cwd": f / "gone"},
    "no such command": lambda f: {"command": (f"{f}/gone",)},
    "not executable": lambda f: {"command": (script(f, "", 0o644),)},
    "no interpreter": lambda f: {"command": (script(f, "#!/no/python\n"),)},
    "no program": lambda f: {"command": (script(f, "echo\n"),)},
    "it says so": lambda f: {"command": (script(f, f"#!/bin/sh\nexit {os.EX_TEMPFAIL}\n"),)},
}


@pytest.mark.parametrize("name", NOT_NOW)
async def test_an_agent_that_cannot_work_whatever_its_task_says_so(
    tmp_path: Path, name: str
) -> None:
    job = replace(job_for("succeeds"), **NOT_NOW[name](tmp_path))
    result = await SubprocessAgentAdapter().run(job)
    assert (result.outcome, result.counts) == (AgentOutcome.FAILED, False)


@pytest.mark.parametrize("text", ["exit 1", "exit 127", "kill -9 $$"])
async def test_other_failures_are_the_tasks(tmp_path: Path, text: str) -> None:
    job = replace(job_for("succeeds"), command=(script(tmp_path, f"#!/bin/sh\n{text}\n"),))
    assert (await SubprocessAgentAdapter().run(job)).counts


def test_doctor_sees_routes_that_hand_tasks_round() -> None:
    dispatcher = app(done_queue="Review")
    dispatcher.route("Review", command="true", done_queue="Todo")(prompt)
    (way,) = [f for f in agent_findings(dispatcher) if f.what == "routes"]
    assert way.level is Level.WARN
    assert "'Todo' -> 'Review' -> 'Todo'" in way.says


def test_a_pipeline_is_no_circle() -> None:
    dispatcher = app(done_queue="Review")
    dispatcher.route("Review", command="true", done_queue="Done")(prompt)
    assert [f for f in agent_findings(dispatcher) if f.what == "routes"] == []
