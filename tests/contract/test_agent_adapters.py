"""The shipped agent adapters keep the contract."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from athanore.agent_adapters.acp import AcpAgentAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.cli import CliAgentAdapter
from athanore.agent_adapters.python import PythonAgent
from athanore.agent_adapters.scripted import Fail, Say, Script, ScriptedAgent, Wait
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.models import Task
from athanore.routing.routes import Route
from athanore.testing.agent_contract import AgentAdapterContract, Behaviour, Case, CaseMaker
from tests.agents import functions

ACP_AGENT = Path(__file__).parent.parent / "agents" / "acp_agent.py"
NASTY = Path(__file__).parent.parent / "agents" / "nasty.py"


def prompt(task_id: str, task_name: str) -> str:
    return f"Work on {task_id}: {task_name}"


class ImpatientAgent(SubprocessAgentAdapter):
    stop_grace = timedelta(seconds=0.5)


class TestSubprocessAgent(AgentAdapterContract):
    @pytest.fixture
    def case(self) -> CaseMaker:
        def make(behaviour: Behaviour) -> Case:
            route = Route(
                "Todo",
                prompt,
                command=sys.executable,
                args=("-I", "-S", str(NASTY), behaviour.replace(" ", "_").lower()),
            )
            job = AgentJob(
                Task("1", "Task", "Todo"),
                route,
                "the prompt",
                env=dict(os.environ),
                command=route.words(),
            )
            return Case(ImpatientAgent(), job)

        return make


@pytest.mark.nightly
class TestCliAgent(AgentAdapterContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> CaseMaker:
        def make(behaviour: Behaviour) -> Case:
            act = behaviour.replace(" ", "_").lower()
            program = tmp_path / act
            line = f"exec {sys.executable} -I -S {NASTY} {act}"
            program.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
            program.chmod(0o755)
            route = Route("Todo", prompt)
            job = AgentJob(Task("1", "Task", "Todo"), route, "the prompt", env=dict(os.environ))
            return Case(CliAgentAdapter("codex", program=program), job)

        return make


@pytest.mark.nightly
class TestAcpAgent(AgentAdapterContract):
    @pytest.fixture
    def case(self) -> CaseMaker:
        pytest.importorskip("acp")

        def make(behaviour: Behaviour) -> Case:
            act = behaviour.replace(" ", "_").lower()
            command = shlex.join([sys.executable, str(ACP_AGENT), act])
            task, route = Task("1", "Task", "Todo"), Route("Todo", prompt)
            job = AgentJob(task, route, "the prompt", env=dict(os.environ))
            return Case(AcpAgentAdapter(command), job)

        return make


class TestScriptedAgent(AgentAdapterContract):
    @pytest.fixture
    def case(self) -> CaseMaker:
        scripts: dict[Behaviour, Script] = {
            "succeeds": [Say("hello from the agent")],
            "fails": [Say("it went wrong"), Fail("exit code 2")],
            "hangs": [Say("ready"), Wait()],
            "ignores TERM": [Say("ready"), Wait()],
        }

        def make(behaviour: Behaviour) -> Case:
            job = AgentJob(Task("1", "Task", "Todo"), Route("Todo", prompt), "the prompt")
            return Case(ScriptedAgent(scripts[behaviour]), job)

        return make


async def say_hello(job: AgentJob) -> str:
    return "hello from the agent"


async def go_wrong(job: AgentJob) -> None:
    raise ValueError("it went wrong")


async def hang(job: AgentJob) -> None:
    job.say("ready")
    await asyncio.Event().wait()


class TestPythonAgentInTheWorker(AgentAdapterContract):
    @pytest.fixture
    def case(self) -> CaseMaker:
        acts = {"succeeds": say_hello, "fails": go_wrong, "hangs": hang, "ignores TERM": hang}

        def make(behaviour: Behaviour) -> Case:
            job = AgentJob(Task("1", "Task", "Todo"), Route("Todo", prompt), "the prompt")
            return Case(PythonAgent(acts[behaviour]), job)

        return make


@pytest.mark.nightly
class TestPythonAgentInAProcess(AgentAdapterContract):
    @pytest.fixture
    def case(self) -> CaseMaker:
        def make(behaviour: Behaviour) -> Case:
            act = getattr(functions, behaviour.replace(" ", "_").lower())
            task, route = Task("1", "Task", "Todo"), Route("Todo", prompt)
            job = AgentJob(task, route, "the prompt", env=dict(os.environ))
            return Case(PythonAgent(act), job)

        return make
