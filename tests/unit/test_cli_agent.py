"""CliAgentAdapter with programs that talk as the real ones do."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.cli.adapter import CliAgentAdapter
from athanore.models import AgentEvent, AgentOutcome, EventKind, FaultKind, Task
from athanore.routes import Route
from tests.harness import prompt

STREAMS = Path(__file__).parent.parent / "agents" / "streams"
THREAD = "01a2173f-66c0-7272-ab13-753000322abc"

type Make = Callable[[str], tuple[CliAgentAdapter, AgentJob, list[AgentEvent]]]


@pytest.fixture
def codex(tmp_path: Path) -> Make:
    """Make a program of some lines of shell, the adapter and a job for it, and what it tells."""

    def make(script: str) -> tuple[CliAgentAdapter, AgentJob, list[AgentEvent]]:
        program = tmp_path / "codex"
        text = f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n{script}\n'
        program.write_text(text.replace("STREAMS", str(STREAMS)), encoding="utf-8")
        program.chmod(0o755)
        events = list[AgentEvent]()
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        task, route = Task("1", "Task", "Todo"), Route("Todo", prompt)
        job = AgentJob(task, route, "the prompt", env=env, emit=events.append)
        return CliAgentAdapter("codex", resume_on_retry=True), job, events

    return make


async def test_a_retry_goes_on_with_the_session_and_pays_for_its_own(
    codex: Make, tmp_path: Path
) -> None:
    agent, job, _ = codex(
        'case "$*" in *resume*) cat STREAMS/codex-resume.jsonl;; '
        "*) cat STREAMS/codex-ok.jsonl; exit 1;; esac"
    )
    first = await agent.run(job)
    again = await agent.run(replace(job, attempt=2))
    assert (first.outcome, first.reason) == (AgentOutcome.FAILED, "exit code 1")
    assert (again.outcome, again.output_tail.splitlines()[-1]) == ("succeeded", "Two lines.")
    assert (first.usage["input_tokens"], again.usage["input_tokens"]) == (200, 100)
    assert (tmp_path / "calls").read_text().splitlines()[1].endswith(f" {THREAD} the prompt")


async def test_a_session_that_is_gone_is_not_missed(codex: Make) -> None:
    agent, job, events = codex(
        'case "$*" in *resume*) echo no rollout found >&2; exit 1;; esac; '
        'cat STREAMS/codex-ok.jsonl; [ "$ATHANORE_ATTEMPT" = 2 ]'
    )
    assert not (await agent.run(job)).succeeded
    env = {**job.env, "ATHANORE_ATTEMPT": "2"}
    assert (await agent.run(replace(job, attempt=2, env=env))).succeeded
    said = [e.data["text"] for e in events if e.kind is EventKind.OUTPUT]
    assert f"{THREAD} cannot be resumed; starting afresh." in said


async def test_what_it_has_used_is_known_though_its_time_is_up(codex: Make) -> None:
    used = '{"type":"turn.completed","usage":{"input_tokens":7,"output_tokens":1}}'
    agent, job, _ = codex(f"trap 'echo '\"'\"'{used}'\"'\"'; exit 1' INT; sleep 1000 & wait")
    result = await agent.run(replace(job, timeout=timedelta(seconds=1)))
    assert (result.outcome, result.reason) == (AgentOutcome.TIMED_OUT, "timed out")
    assert (result.usage["input_tokens"], result.usage["output_tokens"]) == (7, 1)


async def test_a_limit_is_the_providers_with_the_reset_that_codex_has_noted(
    codex: Make, tmp_path: Path
) -> None:
    agent, job, _ = codex("cat STREAMS/codex-limit.jsonl; exit 1")
    thread = "01a2173f-a7af-7a73-b336-b0d836b990bc"
    limits = '{"primary":{"used_percent":100,"window_minutes":300,"resets_at":1795700000}}'
    rollout = tmp_path / f"sessions/2026/rollout-1-{thread}.jsonl"
    rollout.parent.mkdir(parents=True)
    rollout.write_text(f'{{"payload":{{"rate_limits":{limits}}}}}\n', encoding="utf-8")
    result = await agent.run(replace(job, env={**job.env, "CODEX_HOME": str(tmp_path)}))
    assert result.has_fault(FaultKind.PROVIDER) and result.reason == "provider limit (5-hour)"
    assert result.fault is not None and result.fault.retry_at is not None
    assert int(result.fault.retry_at.timestamp()) == 1795700000
    assert "hit your usage limit" in result.output_tail
