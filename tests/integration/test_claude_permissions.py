"""`ClaudeAgentAdapter(permissions="ask")`: what the CLI asks for is asked of people."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk")

from athanore import AgentDispatcher, MemoryAdapter
from athanore.agent_adapters.claude import adapter as module
from athanore.agent_adapters.claude.adapter import ClaudeAgentAdapter
from athanore.errors import ConfigurationError, QuestionClosedError
from athanore.models import AgentResult, EventKind
from tests.claude.endpoint import bash, say
from tests.claude.rig import ClaudeRig, bundled_cli, claude_rig
from tests.harness import app_name, prompt, running
from tests.support import LOCAL, wait_until

TOO_MANY = QuestionClosedError("The run has asked 20 questions.")
FAKE_CLI = Path(__file__).parent.parent / "claude" / "fake_cli.py"


@pytest.fixture
def fake_cli(tmp_path: Path) -> Path:
    """A program that asks for a permission as the CLI does."""
    program = tmp_path / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_CLI} "$@" ask_for_permission\n')
    program.chmod(0o755)
    return program


async def asks(
    cli: str | Path, answer: str | Exception | None, **options: Any
) -> tuple[AgentResult, ClaudeRig, list[str], bool]:
    """An attempt whose agent wants to use Bash, and what people were asked meanwhile."""
    asked: list[str] = []

    async def ask(text: str, choices: tuple[str, ...]) -> str | None:
        assert choices == ("allow", "deny")
        asked.append(text)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with claude_rig([bash("echo made > made.txt"), say("done")]) as rig:
        claude = ClaudeAgentAdapter(permissions="ask", cli_path=cli, **options)
        result = await claude.run(replace(rig.job(), ask=ask))
        assert rig.processes() == []
        return result, rig, asked, (rig.work / "made.txt").exists()


async def test_a_tool_is_used_when_a_person_allows_it(fake_cli: Path) -> None:
    result, rig, asked, _ = await asks(fake_cli, "allow")
    assert result.succeeded
    assert asked == ['May the agent use this tool? Bash\n\n{"command": "make"}']
    (said,) = rig.said(EventKind.TOOL_RESULT)
    assert (said["text"], said["is_error"]) == ("made", False)


@pytest.mark.parametrize(
    "answer",
    [
        "deny",
        pytest.param(None, marks=pytest.mark.nightly),
        pytest.param(TOO_MANY, marks=pytest.mark.nightly),
    ],
)
async def test_a_tool_that_nobody_allows_is_refused_and_named(
    fake_cli: Path, answer: str | Exception | None
) -> None:
    result, rig, _, _ = await asks(fake_cli, answer)
    assert (result.reason, result.retryable) == ("permission denied: Bash", False)
    (said,) = rig.said(EventKind.TOOL_RESULT)
    assert said["text"] == "A person has not allowed this."
    text = " ".join(str(d["text"]) for d in rig.said(EventKind.OUTPUT))
    assert ("has asked 20 questions" in text) is isinstance(answer, Exception)


def test_it_needs_the_sdk_that_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="'allow' must be 'deny' or 'ask'"):
        ClaudeAgentAdapter(permissions="allow")  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(module, "installed_sdk", lambda: "claude_code_sdk")
    with pytest.raises(ConfigurationError, match="needs claude-agent-sdk"):
        ClaudeAgentAdapter(permissions="ask")
    with pytest.raises(ConfigurationError, match="sets permission-prompt-tool itself"):
        ClaudeAgentAdapter(extra_args={"permission-prompt-tool": "mine"})


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("answer", "mode", "questions"),
    [("allow", "default", 1), ("deny", "default", 1), ("deny", "bypassPermissions", 0)],
)
async def test_the_real_cli_asks_for_what_its_mode_does_not_allow(
    answer: str, mode: str, questions: int
) -> None:
    if (cli := bundled_cli()) is None:
        pytest.skip("claude-agent-sdk, which bundles the real CLI, is not installed")
    result, _, asked, is_made = await asks(cli, answer, permission_mode=mode, board_access="curl")
    assert len(asked) == questions
    assert is_made is result.succeeded is (answer == "allow" or not questions)


@pytest.mark.nightly
@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_the_agent_waits_for_a_person_and_its_time_stands_still(
    prefect_api: str, fake_cli: Path, answer: str
) -> None:
    board = MemoryAdapter(["Todo", "In Progress", "Done", "Failed"])
    claude = ClaudeAgentAdapter(permissions="ask", cli_path=fake_cli)
    app = AgentDispatcher(
        name=app_name("claude"), queue_backend=board, poll_interval=3600, api_port=0,
        default_agent=claude, dead_letter_queue="Failed",
    )  # fmt: skip
    app.route("Todo", done_queue="Done", timeout=8, stall_timeout=4)(prompt)
    task = board.create_task("Todo", "Fix it").id
    with running(app, prefect_api) as it:

        def asked() -> list[dict[str, Any]]:
            return LOCAL.get(f"{it.api_url}/questions", timeout=120).json()

        wait_until("it asks", asked)
        begun = monotonic()
        wait_until("its time would be up", lambda: monotonic() - begun > 9)
        (question,) = asked()
        url = f"{it.api_url}/questions/{question['id']}/answer"
        LOCAL.post(url, json={"answer": answer, "by": "eve"}, timeout=120).raise_for_status()
        it.in_queue(task, "Done" if answer == "allow" else "Failed")
        run = it.prefect.ended(task)
    assert it.prefect.labels(run["id"])["athanore.start"] == 1
