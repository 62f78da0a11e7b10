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
from pathlib import Path
from typing import Any

import psutil
import pytest

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.cli import CliAgentAdapter
from athanore.agent_adapters.given.sessions import Session
from athanore.models import AgentOutcome, Task
from athanore.routing.routes import Route
from tests.agents.model import HANG, Call, Json, Model, Refusal, scripted
from tests.agents.real_programs import AGENTS, MAKE, home_folder
from tests.claude.rig import eventually
from tests.harness import prompt

pytestmark = pytest.mark.nightly

SHELLS: dict[str, Call] = {
    "codex": ("!exec_command", {"cmd": "touch here"}),
    "opencode": ("!bash", {"command": "touch here", "description": "a step"}),
}


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
        agent = CliAgentAdapter(preset, model=model_name, board_access="curl", **options)
        env = {"PATH": f"{AGENTS}:{os.environ['PATH']}", "HOME": str(home), **more}
        task, route = Task("1", "Fix it", "Todo"), Route("Todo", prompt)
        yield Rig(agent, model, AgentJob(task, route, "Do it.", env=env, cwd=home / "work"))


type Make = Callable[..., AbstractContextManager[Rig]]


@pytest.fixture(params=list(SHELLS))
def name(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param, path=AGENTS) is None:
        pytest.skip(f"ATHANORE_TEST_AGENTS names no folder with {request.param}")
    return request.param


LIMITED: Json = {"error": {"type": "usage_limit_reached", "plan_type": "plus"}}
LIMITED["error"] |= {"message": "You have hit it", "resets_in_seconds": 3600}


def wrong(text: str) -> Json:
    return {"error": {"message": text, "type": "invalid_request_error", "code": "wrong"}}


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [(401, wrong("bad key"), "environment"), (400, wrong("too long"), None)],
)
def test_an_error_of_the_provider_has_its_reason(
    name: str, status: int, body: Json, fault: str | None
) -> None:
    with rig_of(name, refusal=(status, body)) as rig:
        result = asyncio.run(rig.agent.run(rig.job))
        assert rig.processes() == []
    assert (result.outcome, result.exit_code) == (AgentOutcome.FAILED, 1)
    assert body["error"]["message"] in result.reason
    assert (result.fault and result.fault.kind.value) == fault
    assert fault is None or not result.retryable


def test_a_usage_limit_of_codex_is_the_providers() -> None:
    if shutil.which("codex", path=AGENTS) is None:
        pytest.skip("ATHANORE_TEST_AGENTS names no folder with codex")
    with rig_of("codex", refusal=(429, LIMITED)) as rig:
        result = asyncio.run(rig.agent.run(rig.job))
    assert result.fault is not None and result.fault.kind.value == "provider", result


def test_a_tool_that_is_refused_is_the_reason(name: str) -> None:
    mode = "read-only" if name == "codex" else None
    with rig_of(name, [SHELLS[name]], mode=mode) as rig:
        if name == "opencode":
            config = Path(rig.job.env["HOME"], "work", "opencode.json")
            config.write_text(json.dumps({"permission": {"bash": "ask"}}))
        result = asyncio.run(rig.agent.run(rig.job))
        assert not Path(rig.job.env["HOME"], "work", "here").exists()
    tool = {"codex": "shell", "opencode": "bash"}[name]
    assert (result.reason, result.retryable) == (f"permission denied: {tool}", False), result


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
    if shutil.which("codex", path=AGENTS) is None:
        pytest.skip("ATHANORE_TEST_AGENTS names no folder with codex")
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
