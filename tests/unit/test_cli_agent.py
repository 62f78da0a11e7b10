"""CliAgentAdapter with programs that talk as the real ones do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.cli.adapter import CliAgentAdapter
from athanore.agent_adapters.given.sessions import Session
from athanore.models import AgentEvent, AgentOutcome, EventKind, FaultKind, Task
from athanore.routing.routes import Route
from tests.harness import prompt

STREAMS = Path(__file__).parent.parent / "agents" / "streams"
THREAD = "01a2173f-66c0-7272-ab13-753000322abc"

type Make = Callable[[str], tuple[CliAgentAdapter, AgentJob, list[AgentEvent]]]


@pytest.fixture
def sessions() -> list[Session]:
    """What the job is given to keep."""
    return []


@pytest.fixture
def codex(tmp_path: Path, sessions: list[Session]) -> Make:
    """Make a program of some lines of shell, the adapter and a job for it, and what it tells."""

    def make(script: str) -> tuple[CliAgentAdapter, AgentJob, list[AgentEvent]]:
        program = tmp_path / "codex"
        version = f'[ "$1" = --version ] && exec cat {tmp_path}/version'
        text = f'#!/bin/sh\n{version}\necho "$*" >> {tmp_path}/calls\n{script}\n'
        (tmp_path / "version").write_text("codex-cli 0.169.0\n", encoding="utf-8")
        program.write_text(text.replace("STREAMS", str(STREAMS)), encoding="utf-8")
        program.chmod(0o755)
        events = list[AgentEvent]()
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        task, route = Task("1", "Task", "Todo"), Route("Todo", prompt)
        job = AgentJob(task, route, "the prompt", env=env, emit=events.append, keep=sessions.append)
        return CliAgentAdapter("codex", resume_on_retry=True), job, events

    return make


GOES_ON = (
    'case "$*" in *resume*) cat STREAMS/codex-resume.jsonl;; '
    "*) cat STREAMS/codex-ok.jsonl; exit 1;; esac"
)


async def test_a_retry_goes_on_with_the_session_and_pays_for_its_own(
    codex: Make, tmp_path: Path, sessions: list[Session]
) -> None:
    agent, job, _ = codex(GOES_ON)
    first = await agent.run(job)
    kept = Session.parse(sessions[-1].dump())
    assert kept is not None and (kept.id, kept.place.version) == (THREAD, "0.169.0")
    elsewhere = CliAgentAdapter("codex", resume_on_retry=True)
    again = await elsewhere.run(replace(job, attempt=2, session=kept))
    assert (first.outcome, first.reason) == (AgentOutcome.FAILED, "exit code 1")
    assert (again.outcome, again.output_tail.splitlines()[-1]) == ("succeeded", "Two lines.")
    assert (first.usage["input_tokens"], again.usage["input_tokens"]) == (200, 100)
    assert (tmp_path / "calls").read_text().splitlines()[1].endswith(f" {THREAD} the prompt")


@pytest.mark.parametrize("differs", ["host", "home", "folder", "version", "no version"])
async def test_a_session_of_another_place_is_left_alone(
    codex: Make, tmp_path: Path, sessions: list[Session], differs: str
) -> None:
    agent, job, events = codex(GOES_ON)
    await agent.run(job)
    kept = sessions[-1]
    job = replace(job, attempt=2)
    match differs:
        case "host":
            kept = replace(kept, place=replace(kept.place, host="another-machine"))
        case "home":
            job = replace(job, env={**job.env, "CODEX_HOME": str(tmp_path / "other")})
        case "folder":
            job = replace(job, cwd=tmp_path / "elsewhere")
            (tmp_path / "elsewhere").mkdir()
        case "version":
            (tmp_path / "version").write_text("codex-cli 0.171.0\n", encoding="utf-8")
        case _:
            (tmp_path / "version").unlink()
    result = await agent.run(replace(job, session=kept))
    assert result.usage["input_tokens"] == 200, "the whole of a thread of its own"
    assert len(calls := (tmp_path / "calls").read_text().splitlines()) == 2
    assert "resume" not in calls[1]
    (said,) = [e.data["text"] for e in events if "cannot be resumed" in str(e.data.get("text"))]
    assert said.startswith(f"The session {THREAD} cannot be resumed (its {differs.split()[-1]} was")
    assert sessions[-1].place != kept.place, "the next attempt goes on with the new one"


async def test_a_session_that_is_gone_is_not_missed(
    codex: Make, tmp_path: Path, sessions: list[Session]
) -> None:
    agent, job, events = codex(
        'case "$*" in *resume*) echo no rollout found >&2; exit 1;; esac; '
        'cat STREAMS/codex-ok.jsonl; [ "$ATHANORE_ATTEMPT" = 2 ]'
    )
    assert not (await agent.run(job)).succeeded
    env = {**job.env, "ATHANORE_ATTEMPT": "2"}
    result = await agent.run(replace(job, attempt=2, env=env, session=sessions[-1]))
    assert result.succeeded
    assert len((tmp_path / "calls").read_text().splitlines()) == 3, "once more, and only once"
    said = [e.data["text"] for e in events if e.kind is EventKind.OUTPUT]
    assert "no rollout found" in said
    why = "the program does not know it"
    assert f"The session {THREAD} cannot be resumed ({why}); starting afresh." in said


async def test_without_resume_on_retry_no_session_is_kept_or_used(
    codex: Make, tmp_path: Path, sessions: list[Session]
) -> None:
    agent, job, _ = codex(GOES_ON)
    await agent.run(job)
    fresh = CliAgentAdapter("codex")
    await fresh.run(replace(job, attempt=2, session=sessions[-1]))
    assert "resume" not in (tmp_path / "calls").read_text()
    sessions.clear()
    await fresh.run(job)
    assert sessions == []


async def test_what_it_has_used_is_known_though_its_time_is_up(codex: Make, tmp_path: Path) -> None:
    used = '{"type":"turn.completed","usage":{"input_tokens":7,"output_tokens":1}}'
    agent, job, _ = codex(
        f"trap 'echo '\"'\"'{used}'\"'\"'; exit 1' INT; touch $HOME/ready; sleep 1000 & wait"
    )
    for seconds in (1, 10, 60):  # where the machine is busy, a shell takes its time
        result = await agent.run(replace(job, timeout=timedelta(seconds=seconds)))
        if (tmp_path / "ready").exists():
            break
    assert (result.outcome, result.reason) == (AgentOutcome.TIMED_OUT, "timed out")
    assert (result.usage["input_tokens"], result.usage["output_tokens"]) == (7, 1)


def write_rollout(folder: Path, thread: str, **limits: Mapping[str, float]) -> None:
    path = folder / f"sessions/2026/rollout-1-{thread}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    before = {"primary": {"used_percent": 1, "window_minutes": 300}}
    lines = [{"payload": {"type": "token_count", "rate_limits": told}} for told in (before, limits)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


async def test_a_limit_that_codex_says_is_near_is_told(codex: Make, tmp_path: Path) -> None:
    agent, job, events = codex("cat STREAMS/codex-ok.jsonl")
    write_rollout(
        tmp_path, THREAD,
        primary={"used_percent": 93.2, "window_minutes": 300, "resets_at": 1795700000},
        secondary={"used_percent": 42, "window_minutes": 10080, "resets_at": 1795900000},
    )  # fmt: skip
    assert (await agent.run(replace(job, env={**job.env, "CODEX_HOME": str(tmp_path)}))).succeeded
    (told,) = [e.data for e in events if e.kind is EventKind.PROGRESS and "limit" in e.data]
    assert told["text"] == "93 % of the 5-hour limit is used"
    assert told["limit"] == {
        "kind": "5-hour", "used": 0.932, "resets_at": "2026-11-26T13:33:20+00:00",
    }  # fmt: skip


async def test_a_limit_is_the_providers_with_the_reset_that_codex_has_noted(
    codex: Make, tmp_path: Path
) -> None:
    agent, job, _ = codex("cat STREAMS/codex-limit.jsonl; exit 1")
    thread = "01a2173f-a7af-7a73-b336-b0d836b990bc"
    full = {"used_percent": 100, "window_minutes": 300, "resets_at": 1795700000}
    write_rollout(tmp_path, thread, primary=full)
    result = await agent.run(replace(job, env={**job.env, "CODEX_HOME": str(tmp_path)}))
    assert result.has_fault(FaultKind.PROVIDER) and result.reason == "provider limit (5-hour)"
    assert result.fault is not None and result.fault.retry_at is not None
    assert int(result.fault.retry_at.timestamp()) == 1795700000
    assert "hit your usage limit" in result.output_tail
