"""Real agents of the Agent Client Protocol: a task by MCP, a refusal, a stop, a session, usage.

Their models are scripted servers on 127.0.0.1. The programs are those of the folder that
ATHANORE_TEST_AGENTS names (`node_modules/.bin`), whose Node is first on PATH.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("acp")

from athanore.agent_adapters.acp import AcpAgentAdapter
from athanore.agent_adapters.acp.conversation import Permissions
from athanore.agent_adapters.acp.dialects import dialect_of
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.given.sessions import Session
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, FaultKind, Task
from athanore.routing.routes import Route
from tests.agents.model import HANG, Call, Json, scripted
from tests.agents.real_programs import AGENTS, needs
from tests.api.rig import Api
from tests.claude.endpoint import Reply, Request, fail, hang, say
from tests.claude.rig import claude_rig, eventually
from tests.harness import prompt
from tests.repositories import git

pytestmark = pytest.mark.nightly

BY_MCP: list[Call] = [
    ("get_task", {}),
    ("add_comment", {"comment": "It was the cache."}),
    ("move_task", {"target_queue": "Done"}),
]


@dataclass(frozen=True)
class Agent:
    """A real agent whose model does what a script says.

    Attributes:
        adapter: makes the adapter.
        env: the environment, without the board.
        work: the working folder.
        asked: the bodies of the requests to its model.
        hangs: tells whether the model has been asked for what it never answers.
        goes_on: has the model answer everything from now on.
    """

    adapter: Callable[..., AcpAgentAdapter]
    env: dict[str, str]
    work: Path
    asked: Callable[[], list[Any]]
    hangs: Callable[[], bool]
    goes_on: Callable[[], None]

    def job(self, **more: Any) -> AgentJob:
        task, route = Task("1", "Fix it", "Todo"), Route("Todo", prompt)
        return AgentJob(task, route, "Do it.", env=self.env, cwd=self.work, **more)

    def processes(self) -> list[psutil.Process]:
        """What lives of the agent."""
        found = list[psutil.Process]()
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == self.env["HOME"]:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


LIMIT: Call = ("limit", {})
"""Stands for the refusal of a provider whose usage limit is reached for an hour."""

TOUCH: Call = ("touch", {})
"""Stands for the call of an agent's own shell that makes a file, for which it asks."""


@contextmanager
def claude(home: Path, calls: Sequence[Call]) -> Generator[Agent]:
    touch = ("!Bash", {"command": "touch here", "description": "a step"})
    calls = [touch if call == TOUCH else call for call in calls]
    hanging: list[bool] = []
    over: list[bool] = []
    used_up = {
        "anthropic_ratelimit_unified_status": "rejected",
        "anthropic_ratelimit_unified_representative_claim": "five_hour",
        "anthropic_ratelimit_unified_reset": str(round(time.time() + 3600)),
    }

    def script(request: Request) -> Reply:
        if over or request.turn > len(calls):
            return say("All done.")
        name, arguments = calls[request.turn - 1]
        if name == "limit":
            return fail(429, "Usage limit reached", **used_up)
        if not name:
            hanging.append(True)
            return hang()
        tool = name.strip("!") if name.startswith("!") else f"mcp__athanore__{name}"
        return Reply([{"type": "tool_use", "id": "", "name": tool, "input": arguments}])

    with claude_rig(script) as rig:
        env = rig.env() | {"PATH": f"{AGENTS}:{os.environ['PATH']}"}
        if LIMIT in calls:  # only a subscription has such a limit
            env |= {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "made-up"}
        yield Agent(
            partial(AcpAgentAdapter, "claude-agent-acp"),
            env, rig.work, lambda: [r.body for r in rig.model.requests], lambda: bool(hanging),
            lambda: over.append(True),
        )  # fmt: skip


@contextmanager
def codex(home: Path, calls: Sequence[Call]) -> Generator[Agent]:
    escalated = {"sandbox_permissions": "require_escalated", "justification": "It helps."}
    touch = ("!exec_command", {"cmd": "touch here", **escalated})
    limit: Json = {"type": "usage_limit_reached", "plan_type": "plus", "resets_in_seconds": 3600}
    limit |= {"resets_at": round(time.time() + 3600), "message": "You have hit it"}
    refusal = (429, {"error": limit}) if LIMIT in calls else None
    calls = [touch if call == TOUCH else call for call in calls]
    with scripted(calls, refusal) as model:
        (home / ".codex").mkdir()
        (home / ".codex" / "config.toml").write_text(
            'model = "m"\nmodel_provider = "stub"\n[model_providers.stub]\nname = "stub"\n'
            f'base_url = "{model.url}/v1"\nwire_api = "responses"\nenv_key = "STUB_KEY"\n'
        )
        (home / "work").mkdir()
        env = {"PATH": f"{AGENTS}:{os.environ['PATH']}", "HOME": str(home), "STUB_KEY": "k"}
        yield Agent(
            partial(AcpAgentAdapter, "codex-acp"),
            env, home / "work", lambda: model.requests, model.hangs.is_set, model.go_on,
        )  # fmt: skip


@contextmanager
def opencode(home: Path, calls: Sequence[Call]) -> Generator[Agent]:
    touch = ("!bash", {"command": "touch here", "description": "a step"})
    slow_down = (429, {"error": {"message": "slow down"}}, {"Retry-After": "3600"})
    calls = [touch if call == TOUCH else call for call in calls]
    with scripted(calls, slow_down if LIMIT in calls else None) as model:
        provider: dict[str, Any] = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{model.url}/v1", "apiKey": "k"},
            "models": {
                "m": {
                    "cost": {"input": 1000, "output": 1000},
                    "limit": {"context": 100000, "output": 1000},
                }
            },
        }
        config = {"model": "stub/m", "provider": {"stub": provider}, "permission": {"bash": "ask"}}
        folder = home / ".config" / "opencode"
        folder.mkdir(parents=True)
        (folder / "opencode.json").write_text(json.dumps(config))
        (home / "work").mkdir()
        env = {"PATH": f"{AGENTS}:{os.environ['PATH']}", "HOME": str(home)}
        yield Agent(
            partial(AcpAgentAdapter, "opencode acp"),
            env, home / "work", lambda: model.requests, model.hangs.is_set, model.go_on,
        )  # fmt: skip


type Makes = Callable[..., AbstractContextManager[Agent]]
type Make = Callable[[Path, Sequence[Call]], AbstractContextManager[Agent]]
ALL: dict[str, tuple[str, Make]] = {
    "claude": ("claude-agent-acp", claude),
    "codex": ("codex-acp", codex),
    "opencode": ("opencode", opencode),
}


@pytest.fixture(params=list(ALL))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Makes:
    """Makes one of the agents, with what its model asks for."""
    program, make = ALL[request.param]
    needs(program)
    return partial(of_calls, make, tmp_path)


def of_calls(make: Make, home: Path, *calls: Call) -> AbstractContextManager[Agent]:
    return make(home, calls)


def told(events: list[AgentEvent], kind: EventKind) -> list[dict[str, Any]]:
    return [dict(event.data) for event in events if event.kind is kind]


async def cut_off(agent: Agent, run: asyncio.Task[AgentResult]) -> None:
    """Cancel an attempt that waits for its model, and see that nothing of it lives."""
    await eventually(agent.hangs, "its model is asked for what it does not answer")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert agent.processes() == []


def test_a_task_by_the_tools_of_mcp_with_what_it_used(guarded: Api, make: Makes) -> None:
    events: list[AgentEvent] = []
    with make(*BY_MCP) as agent:
        task = guarded.board.get_task(guarded.board.create_task("Todo", "Fix it").id)
        _, token = guarded.start_run(task.id)
        own = {
            "ATHANORE_API_URL": guarded.url,
            "ATHANORE_TASK_ID": task.id,
            "ATHANORE_TOKEN": token,
        }
        job = replace(agent.job(emit=events.append), task=task, env=agent.env | own)
        result = asyncio.run(agent.adapter().run(job))
        assert result.succeeded, (result, events)
        assert agent.processes() == []
    task = guarded.board.get_task(task.id)
    assert ([c.text for c in task.comments], task.queue_name) == (["It was the cache."], "Done")
    used = [call["name"] for call in told(events, EventKind.TOOL_USE)]
    assert [name for name, _ in BY_MCP] == [re.split(r"\W|__|(?<=athanore)_", n)[-1] for n in used]
    assert token not in str(told(events, EventKind.STARTED))
    known = dialect_of(agent.adapter()._program())  # pyright: ignore[reportPrivateUsage]
    assert known.tells_cost == (result.usage.get("cost_usd", 0) > 0)
    read, written = (result.usage.get(f"{way}_tokens", 0) for way in ("input", "output"))
    if known.tells_tokens:  # Codex calls its model again until the board's server is there
        assert read >= 400 and written * 10 == read
    else:
        assert (read, written) == (0, 0)
    assert told(events, EventKind.COST)[-1] == result.usage


@pytest.mark.parametrize("permissions", ["deny", "allow"])
def test_a_tool_is_allowed_or_the_reason_of_a_failure(
    make: Makes, permissions: Permissions
) -> None:
    events: list[AgentEvent] = []
    with make(TOUCH) as agent:
        adapter = agent.adapter(permissions=permissions, board_access="curl")
        result = asyncio.run(adapter.run(agent.job(emit=events.append)))
        is_there = (agent.work / "here").exists()
        assert agent.processes() == []
    (used,) = told(events, EventKind.TOOL_USE)
    assert used["input"]["command"] == "touch here"
    if permissions == "allow":
        assert result.succeeded and is_there, (result, events)
        return
    assert (result.outcome, result.retryable, is_there) == (AgentOutcome.FAILED, False, False)
    assert result.reason == f"permission denied: {used['name']}"


def test_a_usage_limit_is_the_providers_and_costs_no_attempt(make: Makes) -> None:
    events: list[AgentEvent] = []
    with make(LIMIT) as agent:
        adapter = agent.adapter(board_access="curl", start_timeout=180)
        result = asyncio.run(adapter.run(agent.job(emit=events.append)))
        assert agent.processes() == []
    assert result.fault is not None, (result, events)
    assert result.fault.kind is FaultKind.PROVIDER and not result.counts
    assert result.fault.retry_at is not None, result
    hour = timedelta(hours=1)
    assert abs(result.fault.retry_at - datetime.now(UTC) - hour) < timedelta(minutes=5), result


async def test_a_retry_goes_on_with_the_session_of_one_that_was_cancelled(make: Makes) -> None:
    kept: list[Session] = []
    events: list[AgentEvent] = []
    with make(TOUCH, HANG) as agent:

        def adapter() -> AcpAgentAdapter:
            return agent.adapter(permissions="allow", board_access="curl", resume_on_retry=True)

        first = asyncio.create_task(adapter().run(agent.job(keep=kept.append)))
        await cut_off(agent, first)
        session = Session.parse(kept[-1].dump())
        job = agent.job(attempt=2, session=session, emit=events.append)
        job = replace(job, prompt="Go on.")
        agent.goes_on()
        second = await adapter().run(job)
        assert second.succeeded, (second, events)
        assert second.usage["session_id"] == kept[-1].id
        bodies = [json.dumps(body) for body in agent.asked()]
        assert [body for body in bodies if "Do it." in body and "Go on." in body]


def test_codex_commits_in_the_clone_of_its_task(tmp_path: Path) -> None:
    """Its sandbox keeps `.git` from being written, unless it is told of it."""
    needs("codex-acp")
    with codex(tmp_path, [("!exec_command", {"cmd": "git commit -q --allow-empty -m Fix"})]) as it:
        clone = tmp_path / "work"
        git(clone, "init", "-q", "-b", "main")
        (tmp_path / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
        job = it.job()
        job = replace(job, env={**job.env, "ATHANORE_WORKSPACE": str(clone)})
        result = asyncio.run(it.adapter(permissions="deny").run(job))
        assert result.succeeded, result
        assert git(clone, "log", "--format=%an %s") == "Ada Fix"
