"""The real programs of agents do a task by the tools of MCP alone, under tokens.

Their models are scripted servers on 127.0.0.1. The programs are those of the folder that
ATHANORE_TEST_AGENTS names (`node_modules/.bin`), whose Node is first on PATH; Claude's comes with
its SDK.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.claude import ClaudeAgentAdapter
from athanore.agent_adapters.cli import CliAgentAdapter
from athanore.models import AgentEvent, AgentResult, EventKind
from athanore.routing.routes import Route
from tests.agents.model import scripted
from tests.agents.real_programs import AGENTS, MAKE, home_folder, needs
from tests.api.rig import Api
from tests.claude.endpoint import Reply, Request, say, use
from tests.claude.rig import bundled_cli, claude_rig
from tests.harness import prompt

pytestmark = [
    pytest.mark.nightly,
    # claude-code-sdk never closes its message streams.
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_task", {}),
    ("add_comment", {"comment": "It was the cache."}),
    ("move_task", {"target_queue": "Done"}),
]


@pytest.fixture
def home() -> Generator[Path]:
    """A home for an agent."""
    with home_folder() as folder:
        yield folder


def job_for(api: Api, work: Path, env: dict[str, str], events: list[AgentEvent]) -> AgentJob:
    task = api.board.get_task(api.board.create_task("Todo", "Fix it").id)
    _, token = api.start_run(task.id)
    board = {"ATHANORE_API_URL": api.url, "ATHANORE_TASK_ID": task.id, "ATHANORE_TOKEN": token}
    return AgentJob(
        task, Route("Todo", prompt), "Do it.", env=env | board, cwd=work, emit=events.append
    )


def check(api: Api, job: AgentJob, result: AgentResult, events: list[AgentEvent]) -> None:
    assert result.succeeded, (result, events)
    task = api.board.get_task(job.task.id)
    assert ([c.text for c in task.comments], task.queue_name) == (["It was the cache."], "Done")
    used = [str(e.data["name"]) for e in events if e.kind is EventKind.TOOL_USE]
    assert [name.rpartition("athanore")[2].strip("_.") or name for name in used] == [
        name for name, _ in CALLS
    ]
    commands = [str(e.data.get("command")) for e in events if e.kind is EventKind.STARTED]
    assert commands and job.env["ATHANORE_TOKEN"] not in str(commands)


def without_the_token(job: AgentJob) -> None:
    """No living process shows the token in its command line."""
    token = job.env["ATHANORE_TOKEN"]
    for process in psutil.process_iter():
        try:
            assert token not in " ".join(process.cmdline())
        except (psutil.Error, OSError):
            continue


@pytest.mark.parametrize("by", ["sdk", "preset"])
@pytest.mark.parametrize("mode", ["acceptEdits", "default", "dontAsk"])
def test_claude(guarded: Api, by: str, mode: str) -> None:
    cli = bundled_cli()
    if cli is None:
        pytest.skip("claude-agent-sdk, which brings the CLI, is not installed")
    events: list[AgentEvent] = []

    def script(request: Request) -> Reply:
        without_the_token(job)
        offered = {t["name"] for t in request.body["tools"]}
        assert not [name for name in offered if "mine" in name]
        assert job.env["ATHANORE_TOKEN"] not in json.dumps(request.body)
        if request.turn > len(CALLS):
            return say("All done.")
        name, arguments = CALLS[request.turn - 1]
        return use(f"mcp__athanore__{name}", **arguments)

    with claude_rig(script) as rig:
        mine = {"mcpServers": {"mine": {"command": "touch", "args": [str(rig.root / "started")]}}}
        (rig.root / "config" / ".claude.json").write_text(json.dumps(mine))
        job = job_for(guarded, rig.work, rig.env(), events)
        agent = (
            ClaudeAgentAdapter(permission_mode=mode, cli_path=cli)
            if by == "sdk"
            else CliAgentAdapter("claude", mode=mode, program=cli)
        )
        result = asyncio.run(agent.run(job))
        assert not (rig.root / "started").exists()
        assert result.succeeded, (result, events)
        first = rig.model.requests[0]
        assert "get_task reads your task" in json.dumps(first.body)
    check(guarded, job, result, events)


@pytest.mark.parametrize("name", list(MAKE))
def test_an_agent_of_the_command_line(guarded: Api, home: Path, name: str) -> None:
    needs(name)
    events: list[AgentEvent] = []
    (home / "work").mkdir()
    with scripted(CALLS) as model:
        agent, more = MAKE[name](model, home)
        env = {"PATH": f"{AGENTS}:{os.environ['PATH']}", "HOME": str(home), **more}
        job = job_for(guarded, home / "work", env, events)
        result = asyncio.run(agent.run(job))
        assert not (home / "started").exists()
        assert result.succeeded, (result, events)
        assert job.env["ATHANORE_TOKEN"] not in json.dumps(model.requests)
        assert "get_task reads your task" in json.dumps(model.requests)
    assert not list(home.glob(".athanore-*"))
    check(guarded, job, result, events)
