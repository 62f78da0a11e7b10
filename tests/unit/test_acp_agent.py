"""`AcpAgentAdapter` with a real child process, which is made of the library's own agent side."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("acp")

from athanore.agent_adapters.acp import AcpAgentAdapter
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.given.sessions import Session
from athanore.errors import ConfigurationError
from athanore.models import AgentEvent, AgentOutcome, AgentResult, EventKind, FaultKind, Task
from athanore.routing.routes import Route
from tests.claude.rig import eventually
from tests.harness import prompt

AGENT = Path(__file__).parent.parent / "agents" / "acp_agent.py"


class Talk:
    """One adapter, and what its attempts told."""

    def __init__(self, act: str, name: str = "fake-agent", **options: Any) -> None:
        self.command = shlex.join([sys.executable, str(AGENT), act, name])
        self.adapter = AcpAgentAdapter(self.command, **options)
        self.events: list[AgentEvent] = []
        self.sessions: list[Session] = []

    async def run(self, attempt: int = 1, **more: Any) -> AgentResult:
        route, task = Route("Todo", prompt), Task("1", "Task", "Todo")
        job = AgentJob(
            task,
            route,
            "Do it.",
            attempt,
            env=dict(os.environ),
            emit=self.events.append,
            session=self.sessions[-1] if self.sessions else None,
            keep=self.sessions.append,
            **more,
        )
        return await self.adapter.run(job)

    def said(self, kind: EventKind) -> list[dict[str, Any]]:
        return [dict(event.data) for event in self.events if event.kind is kind]


async def test_words_come_in_lines_and_usage_is_told() -> None:
    talk = Talk("succeeds")
    result = await talk.run()
    assert result.succeeded
    lines = [d["text"] for d in talk.said(EventKind.OUTPUT)]
    assert lines == ["mode auto, session new", "hello from the agent"]
    assert result.usage == {
        "session_id": "new", "cost_usd": 0.25, "input_tokens": 10, "output_tokens": 2,
    }  # fmt: skip
    assert talk.said(EventKind.COST)[-1] == result.usage


@pytest.mark.parametrize("name", ["codex-acp", "fake-agent"])
async def test_codex_may_commit_in_the_tasks_own_clone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    talk = Talk("works", name)
    assert (await talk.run(cwd=tmp_path)).succeeded
    monkeypatch.setenv("ATHANORE_WORKSPACE", str(tmp_path))
    assert (await talk.run(cwd=tmp_path)).succeeded
    may = [f"may write {tmp_path / '.git'}"] if name == "codex-acp" else []
    lines = [d["text"] for d in talk.said(EventKind.OUTPUT)]
    assert [line for line in lines if line.startswith("may")] == may


def only_edits(title: str, kind: str, arguments: object) -> bool:
    return kind == "edit"


async def unsure(title: str, kind: str, arguments: object) -> bool:
    raise ValueError("no idea")


@pytest.mark.parametrize("permissions", ["deny", only_edits, unsure])
async def test_a_tool_that_is_refused_is_named_and_not_tried_again(
    permissions: str | Callable[..., Any],
) -> None:
    talk = Talk("asks", permissions=permissions)
    result = await talk.run()
    assert (result.outcome, result.retryable) == (AgentOutcome.FAILED, False)
    assert result.reason == "permission denied: rm -rf build"
    assert talk.said(EventKind.TOOL_USE) == [{"name": "rm -rf build", "input": {"x": 1}}]


@pytest.mark.parametrize("answer", ["allow", "deny", None])
async def test_people_are_asked_what_it_asks_for(answer: str | None) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    async def ask(text: str, choices: tuple[str, ...]) -> str | None:
        asked.append((text, choices))
        return answer

    result = await Talk("asks", permissions="ask").run(ask=ask)
    assert asked == [("May the agent use this tool? rm -rf build", ("allow", "deny"))]
    assert result.succeeded == (answer == "allow")
    assert result.reason == ("" if answer == "allow" else "permission denied: rm -rf build")


async def test_where_nobody_can_be_asked_it_is_refused() -> None:
    talk = Talk("asks", permissions="ask")
    assert (await talk.run()).reason == "permission denied: rm -rf build"
    assert "Nobody can be asked" in str(talk.said(EventKind.OUTPUT))


async def test_a_tool_that_is_allowed_is_used() -> None:
    talk = Talk("asks", permissions="allow")
    assert (await talk.run()).succeeded
    (used,) = talk.said(EventKind.TOOL_RESULT)
    assert used == {"name": "rm -rf build", "is_error": False, "text": ""}


async def test_one_that_would_wait_for_its_provider_for_long_is_not_waited_for() -> None:
    talk = Talk("waits", "OpenCode")
    result = await talk.run()
    assert result.fault is not None and result.fault.kind is FaultKind.PROVIDER, result
    assert result.fault.retry_at is not None
    assert timedelta(minutes=50) < result.fault.retry_at - datetime.now(UTC) < timedelta(hours=1)
    (said,) = [d["text"] for d in talk.said(EventKind.PROGRESS) if "text" in d]
    assert said.startswith("slow down; it is tried again in ")


async def test_a_usage_limit_and_a_missing_login_are_told_from_failures() -> None:
    limited = await Talk("limited").run()
    assert limited.has_fault(FaultKind.PROVIDER) and not limited.counts
    locked = await Talk("locked").run()
    assert locked.has_fault(FaultKind.ENVIRONMENT)
    assert locked.reason == "Authentication required"


async def test_an_error_that_looks_like_the_end_of_a_turn_is_a_failure() -> None:
    result = await Talk("typed").run()
    assert (result.outcome, result.reason) == (AgentOutcome.FAILED, "It is too long")
    assert not result.retryable


async def test_an_agent_that_does_not_start_says_why_and_costs_no_attempt() -> None:
    result = await Talk("breaks").run()
    assert result.reason == "the agent did not start: no such setting: colour"
    assert result.has_fault(FaultKind.ENVIRONMENT)


async def test_the_mode_is_the_users_or_one_in_which_a_known_agent_asks() -> None:
    for name, mode, expected in (
        ("fake-agent", None, "auto"),
        ("fake-agent", "default", "default"),
        ("claude-agent-acp", None, "default"),
    ):
        talk = Talk("succeeds", name, mode=mode)
        await talk.run()
        assert talk.said(EventKind.OUTPUT)[0]["text"].startswith(f"mode {expected},")
    wrong = await Talk("succeeds", mode="yolo").run()
    assert wrong.reason == "the agent has no mode 'yolo'; there are: 'auto', 'default'"
    assert not wrong.counts


async def cut_off() -> Talk:
    """An attempt that was stopped at its work."""
    talk = Talk("hangs", resume_on_retry=True)
    run = asyncio.create_task(talk.run())
    await eventually(lambda: "ready" in str(talk.said(EventKind.OUTPUT)), "it is at work")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert talk.said(EventKind.COST)[-1]["cost_usd"] == 0.5
    return talk


def after(talk: Talk, act: str, name: str = "fake-agent") -> Talk:
    """What comes after an attempt, on a worker that knows only what was kept."""
    later = Talk(act, name, resume_on_retry=True)
    later.sessions = [parsed for s in talk.sessions if (parsed := Session.parse(s.dump()))]
    return later


async def test_a_retry_goes_on_with_the_session_where_that_can_be_done() -> None:
    later = after(await cut_off(), "succeeds")
    second = await later.run(attempt=2)
    assert second.succeeded and second.usage["session_id"] == "new"
    assert "again session new" in str(later.said(EventKind.OUTPUT))
    assert second.usage["cost_usd"] == 0, "its total is that of the session"
    forgetful = after(later, "forgets")
    assert (await forgetful.run(attempt=2)).succeeded
    assert "cannot be resumed" in str(forgetful.said(EventKind.OUTPUT))


async def test_a_session_of_another_place_is_left_alone(tmp_path: Path) -> None:
    first = await cut_off()
    for name, cwd, why in (
        ("other-agent", None, "its version was 'fake-agent 1', and is 'other-agent 1' now"),
        ("fake-agent", tmp_path, "its folder was"),
    ):
        later = after(first, "succeeds", name)
        result = await later.run(attempt=2, cwd=cwd)
        assert result.succeeded and result.usage["cost_usd"] == 0.25
        told = later.said(EventKind.OUTPUT)
        assert f"The session new cannot be resumed ({why}" in told[0]["text"]


@pytest.mark.parametrize(
    "wrong", [{"permissions": "some"}, {"mcp_servers": {"a b": None}}, {"command": "a 'b"}]
)
def test_a_wrong_option_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        AcpAgentAdapter(**wrong)
