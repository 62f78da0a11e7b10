"""Real agents of the command line that fail, are refused something, are stopped, and go on.

Their models are scripted servers on 127.0.0.1; the programs are those of ATHANORE_TEST_AGENTS.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from athanore import AgentDispatcher, MemoryAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.cli import CliAgentAdapter
from athanore.agent_adapters.given.sessions import Session
from athanore.models import AgentOutcome, FaultKind, Task
from athanore.routing.routes import Route
from tests.agents.model import HANG, Call, Json, Model, Refusal, scripted
from tests.agents.real_programs import AGENTS, MAKE, SHELLS, home_folder, needs, shell
from tests.claude.rig import eventually
from tests.harness import app_name, prompt, running
from tests.repositories import git

pytestmark = pytest.mark.nightly

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Rig:
    """An agent, its model and a job for it."""

    agent: CliAgentAdapter
    model: Model
    job: AgentJob

    def processes(self) -> list[psutil.Process]:
        found = list[psutil.Process]()
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == self.job.env["HOME"]:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


@contextmanager
def rig_of(
    name: str, calls: Sequence[Call] = (), refusal: Refusal | None = None, **options: Any
) -> Generator[Rig]:
    with home_folder() as home, scripted(calls, refusal) as model:
        (home / "work").mkdir()
        made, more = MAKE[name](model, home)
        model_name = str(vars(made)["_model"])
        preset: Any = name
        extra_args: Any = vars(made)["_extra_args"]
        agent = CliAgentAdapter(
            preset, model=model_name, extra_args=extra_args, board_access="curl", **options
        )
        env = {"PATH": f"{AGENTS}:{os.environ['PATH']}", "HOME": str(home), **more}
        task, route = Task("1", "Fix it", "Todo"), Route("Todo", prompt)
        yield Rig(agent, model, AgentJob(task, route, "Do it.", env=env, cwd=home / "work"))


type Make = Callable[..., AbstractContextManager[Rig]]


@pytest.fixture(params=list(SHELLS))
def name(request: pytest.FixtureRequest) -> str:
    return needs(request.param)


def wrong(text: str) -> Json:
    return {"error": {"message": text, "type": "invalid_request_error", "code": "wrong"}}


def googles(code: int, text: str, **detail: Any) -> Json:
    detail["@type"] = f"type.googleapis.com/google.rpc.{detail.pop('type')}"
    return {"error": {"code": code, "message": text, "status": "X", "details": [detail]}}


WRONG_KEYS: dict[str, Refusal] = dict.fromkeys(SHELLS, (401, wrong("bad key")))
WRONG_KEYS["gemini"] = (400, googles(400, "bad key", type="ErrorInfo", reason="API_KEY_INVALID"))
LIMITED: Json = {"error": {"type": "usage_limit_reached", "plan_type": "plus"}}
LIMITED["error"] |= {"message": "You have hit it", "resets_in_seconds": 3600}
LIMITS: dict[str, Refusal] = {
    "codex": (429, LIMITED),
    "gemini": (429, googles(429, "Too many.", type="RetryInfo", retryDelay="3600s")),
    "opencode": (429, wrong("slow down"), {"Retry-After": "3600"}),
    "qwen": (429, wrong("You exceeded your current quota")),
}


def test_a_key_that_is_refused_is_no_fault_of_the_task(name: str) -> None:
    with rig_of(name, refusal=WRONG_KEYS[name]) as rig:
        result = asyncio.run(rig.agent.run(rig.job))
        assert rig.processes() == []
    assert (result.outcome, result.retryable) == (AgentOutcome.FAILED, False)
    assert result.has_fault(FaultKind.ENVIRONMENT), result
    assert "bad key" in f"{result.reason} {result.output_tail}"


def test_a_request_that_is_refused_has_its_reason(name: str) -> None:
    with rig_of(name, refusal=(400, wrong("too long"))) as rig:
        result = asyncio.run(rig.agent.run(rig.job))
        assert rig.processes() == []
    assert (result.outcome, result.exit_code) == (
        AgentOutcome.FAILED,
        144 if name == "gemini" else 1,
    )
    assert "too long" in f"{result.reason} {result.output_tail}"
    assert result.fault is None


@pytest.mark.parametrize("limited", list(LIMITS))
def test_a_usage_limit_is_the_providers(limited: str) -> None:
    """Qwen Code has asked in vain for a minute and a half before it says that it waits."""
    with rig_of(needs(limited), refusal=LIMITS[limited]) as rig:
        job = replace(rig.job, timeout=timedelta(minutes=5))
        result = asyncio.run(rig.agent.run(job))
        assert rig.processes() == []
    assert result.fault is not None and result.fault.kind is FaultKind.PROVIDER, result
    if limited == "gemini":
        assert result.exit_code == 173
    if limited in ("gemini", "opencode"):
        assert result.fault.retry_at is not None
        assert abs(result.fault.retry_at - datetime.now(UTC) - HOUR) < timedelta(minutes=2)


def test_a_tool_that_is_refused_is_the_reason(name: str) -> None:
    mode = {"codex": "read-only", "gemini": "default", "qwen": "default"}.get(name)
    with rig_of(name, [SHELLS[name]], mode=mode) as rig:
        if name == "opencode":
            config = Path(rig.job.env["HOME"], "work", "opencode.json")
            config.write_text(json.dumps({"permission": {"bash": "ask"}}))
        result = asyncio.run(rig.agent.run(rig.job))
        assert not Path(rig.job.env["HOME"], "work", "here").exists()
    tool = {"codex": "shell", "opencode": "bash"}.get(name, "run_shell_command")
    assert (result.reason, result.retryable) == (f"permission denied: {tool}", False), result


def test_it_commits_in_the_clone_of_its_task(name: str) -> None:
    """Codex keeps `.git` from being written, and Gemini CLI git's settings from being read."""
    command = "git commit -q --allow-empty -m Fix; git log -1 --format='%an %s'"
    with rig_of(name, [shell(name, command)]) as rig:
        home = Path(rig.job.env["HOME"])
        (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
        clone = home / "work"
        git(clone, "init", "-q", "-b", "main")
        job = replace(rig.job, env={**rig.job.env, "ATHANORE_WORKSPACE": str(clone)})
        result = asyncio.run(rig.agent.run(job))
        assert result.succeeded, result
        assert git(clone, "log", "--format=%an %cn %s") == "Ada Ada Fix"


UNREACHABLE = "http://127.0.0.1:9"


def test_a_silent_provider_is_a_stall(prefect_api: str, name: str) -> None:
    """Of Codex, one that cannot be reached: it says so, which is no sign of life."""
    with rig_of(name, [HANG]) as rig:
        home = Path(rig.job.env["HOME"])
        if name == "codex":
            config = home / ".codex" / "config.toml"
            config.write_text(config.read_text().replace(rig.model.url, UNREACHABLE))
        board = MemoryAdapter({"Todo": ["Fix it"], "In Progress": [], "Done": [], "Failed": []})
        app = AgentDispatcher(
            name=app_name("silent"), queue_backend=board, default_agent=rig.agent, api_port=0,
            poll_interval=1, max_retries=0, dead_letter_queue="Failed",
        )  # fmt: skip
        app.route(
            "Todo", done_queue="Done", stall_timeout=40, cwd=str(home / "work"), env=rig.job.env
        )(prompt)
        with running(app, prefect_api) as it:
            it.in_queue("1", "Failed", 300)
        assert name == "codex" or rig.model.requests, "its model was asked"
        assert rig.processes() == []
    said = "\n".join(c.text for c in board.get_task("1").comments)
    assert "stalled: nothing heard for 40 s" in said


async def test_one_that_was_stopped_leaves_nothing_and_goes_on_in_its_session(name: str) -> None:
    kept: list[Session] = []
    with rig_of(name, [HANG], resume_on_retry=True) as rig:
        run = asyncio.create_task(rig.agent.run(replace(rig.job, keep=kept.append)))
        await eventually(rig.model.hangs.is_set, "its model is asked")
        if not kept:  # OpenCode tells its session with the first words of its model only
            rig.model.go_on()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert rig.processes() == []
        rig.model.go_on()
        session = kept[-1] if kept else None
        again = replace(rig.job, prompt="Go on.", attempt=2, session=session)
        second = await rig.agent.run(again)
        assert second.succeeded, second
        if session is not None:
            assert second.usage["session_id"] == session.id
            asked = [json.dumps(body) for body in rig.model.requests]
            assert [body for body in asked if "Do it." in body and "Go on." in body]


def test_a_session_that_the_program_does_not_know_is_not_missed() -> None:
    needs("codex")
    kept: list[Session] = []
    with rig_of("codex", resume_on_retry=True) as rig:
        first = asyncio.run(rig.agent.run(replace(rig.job, keep=kept.append)))
        assert first.succeeded, first
        shutil.rmtree(Path(rig.job.env["HOME"], ".codex", "sessions"))
        for database in Path(rig.job.env["HOME"], ".codex").glob("*.sqlite*"):
            database.unlink()
        again = replace(rig.job, attempt=2, session=kept[-1], keep=kept.append)
        second = asyncio.run(rig.agent.run(again))
    assert second.succeeded, second
    assert second.usage["session_id"] == kept[-1].id != first.usage["session_id"]
