"""What each program is told of its servers of MCP: the board's, those given, and no others."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.claude import ClaudeAgentAdapter
from athanore.agent_adapters.claude.mcp import allowed_mcp, strict_mcp
from athanore.agent_adapters.cli import CliAgentAdapter
from athanore.agent_adapters.cli.adapter import PRESETS
from athanore.agent_adapters.given import mcp_servers
from athanore.agent_adapters.given.mcp_servers import McpServer, board_server, lesson
from athanore.api.tools import TOOLS
from athanore.errors import ConfigurationError
from athanore.models import AgentEvent, EventKind, Task
from athanore.routing.routes import Route
from tests.harness import prompt

BOARD = {
    "ATHANORE_API_URL": "http://127.0.0.1:8000",
    "ATHANORE_TASK_ID": "7",
    "ATHANORE_TOKEN": "ath_t0ken",
}
SERVERS = {
    **board_server("mcp", BOARD),
    "docs": McpServer(command=["docs-mcp", "--all"], env=["DOCS_KEY"]),
}
URL = "http://127.0.0.1:8000/mcp"


def test_claude_has_these_servers_and_the_token_is_a_variable() -> None:
    config, strict = strict_mcp(SERVERS)
    assert strict == "--strict-mcp-config"
    assert json.loads(config.removeprefix("--mcp-config=")) == {
        "mcpServers": {
            "athanore": {
                "type": "http",
                "url": URL,
                "headers": {"Authorization": "Bearer ${ATHANORE_TOKEN}"},
                "alwaysLoad": True,
            },
            "docs": {
                "command": "docs-mcp",
                "args": ["--all"],
                "env": {"DOCS_KEY": "${DOCS_KEY}"},
            },
        }
    }
    assert allowed_mcp(SERVERS) == ["mcp__athanore", "mcp__docs"]
    handed = PRESETS["claude"].hand(SERVERS, {}, Path("/"))
    assert handed.args == (config, strict, "--allowedTools=mcp__athanore,mcp__docs")


def test_codex_has_these_servers_and_those_of_its_files_are_off(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[mcp_servers.mine]\ncommand = "x"\n[mcp_servers.docs]\ncommand = "y"\n'
        '[mcp_servers."odd one"]\ncommand = "z"\n'
    )
    handed = PRESETS["codex"].hand(SERVERS, {"CODEX_HOME": str(tmp_path)}, tmp_path)
    assert set(handed.args[::2]) == {"-c"}
    assert handed.args[1::2] == (
        "mcp_servers.mine.enabled=false",
        "mcp_servers.athanore.enabled=true",
        'mcp_servers.athanore.default_tools_approval_mode="approve"',
        f'mcp_servers.athanore.url="{URL}"',
        'mcp_servers.athanore.bearer_token_env_var="ATHANORE_TOKEN"',
        "mcp_servers.docs.enabled=true",
        'mcp_servers.docs.default_tools_approval_mode="approve"',
        'mcp_servers.docs.command="docs-mcp"',
        'mcp_servers.docs.args=["--all"]',
        'mcp_servers.docs.env_vars=["DOCS_KEY"]',
    )


def test_opencode_has_these_servers_and_those_of_its_files_are_off(tmp_path: Path) -> None:
    folder = tmp_path / "opencode"
    folder.mkdir()
    (folder / "opencode.jsonc").write_text(
        '{ // see https://opencode.ai\n "mcp": {"mine": {"type": "local"}, /* , */ },\n}'
    )
    work = tmp_path / "a" / "work"
    work.mkdir(parents=True)
    (work.parent / "opencode.json").write_text('{"mcp": {"above": {}}}')
    (work / "opencode.json").write_text("{ broken")
    said = json.dumps({"model": "m", "mcp": {"said": {"type": "remote", "url": "u"}}})
    env = {"XDG_CONFIG_HOME": str(tmp_path), "OPENCODE_CONFIG_CONTENT": said}
    handed = PRESETS["opencode"].hand(SERVERS, env, work)
    assert handed.args == ()
    config = json.loads(handed.env["OPENCODE_CONFIG_CONTENT"])
    assert config["model"] == "m"
    assert config["mcp"] == {
        "said": {"type": "remote", "url": "u", "enabled": False},
        "mine": {"enabled": False},
        "above": {"enabled": False},
        "athanore": {
            "type": "remote",
            "url": URL,
            "headers": {"Authorization": "Bearer {env:ATHANORE_TOKEN}"},
            "oauth": False,
            "enabled": True,
        },
        "docs": {
            "type": "local",
            "command": ["docs-mcp", "--all"],
            "environment": {"DOCS_KEY": "{env:DOCS_KEY}"},
            "enabled": True,
        },
    }


@pytest.mark.parametrize(
    ("preset", "variable"),
    [
        ("gemini", "GEMINI_CLI_SYSTEM_SETTINGS_PATH"),
        ("qwen", "QWEN_CODE_SYSTEM_SETTINGS_PATH"),
    ],
)
def test_gemini_and_qwen_have_settings_of_their_own(preset: str, variable: str) -> None:
    handed = PRESETS[preset].hand(SERVERS, {}, Path("/"))
    allowed = "--allowed-mcp-server-names"
    assert handed.args == (allowed, "athanore", allowed, "docs")
    assert handed.settings is not None and handed.settings[0] == variable
    assert json.loads(handed.settings[1])["mcpServers"] == {
        "athanore": {"httpUrl": URL, "headers": {"Authorization": "Bearer ${ATHANORE_TOKEN}"}},
        "docs": {"command": "docs-mcp", "args": ["--all"], "env": {"DOCS_KEY": "${DOCS_KEY}"}},
    }


def started(tmp_path: Path, script: str) -> tuple[AgentJob, list[AgentEvent]]:
    """A job for a program of some lines of shell, and what it tells."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    events: list[AgentEvent] = []
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **BOARD}
    task = Task("7", "Task", "Todo")
    return AgentJob(task, Route("Todo", prompt), "the prompt", env=env, emit=events.append), events


def said(events: list[AgentEvent]) -> str:
    return "\n".join(str(e.data["text"]) for e in events if e.kind is EventKind.OUTPUT)


async def test_the_settings_of_an_attempt_are_its_users_alone_and_go_with_it(
    tmp_path: Path,
) -> None:
    job, events = started(
        tmp_path,
        'f=$QWEN_CODE_SYSTEM_SETTINGS_PATH; echo "$f"; '
        'stat -c %a "$f" "$(dirname "$f")"; sed "s/^/> /" "$f"',
    )
    result = await CliAgentAdapter("qwen", program=tmp_path / "program").run(job)
    assert result.exit_code == 0
    path, file_mode, folder_mode, text = said(events).splitlines()
    assert (file_mode, folder_mode) == ("600", "700")
    assert URL in text and "ath_t0ken" not in text
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".athanore")], path


async def test_the_prompt_says_which_tools_there_are_and_curl_is_left_to_the_user(
    tmp_path: Path,
) -> None:
    script = 'for word in "$@"; do echo "[$word]"; done'
    job, events = started(tmp_path, script)
    await CliAgentAdapter("codex", program=tmp_path / "program").run(job)
    assert "[the prompt\n# The task board" in said(events) and URL in said(events)
    (told,) = [e.data["command"] for e in events if e.kind is EventKind.STARTED]
    assert "ath_t0ken" not in told and "task board" not in told

    for agent in (
        CliAgentAdapter("codex", program=tmp_path / "program", board_access="curl"),
        CliAgentAdapter("codex", program=tmp_path / "program"),
    ):
        job, events = started(tmp_path, script)
        if agent._board_access is None:  # pyright: ignore[reportPrivateUsage]
            job = replace(job, env={k: v for k, v in job.env.items() if k not in BOARD})
        await agent.run(job)
        assert said(events).endswith("[the prompt]") and "mcp" not in said(events)


async def test_without_the_extra_an_agent_calls_its_board_with_curl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(name: str) -> str:
        return "1.30.0"

    monkeypatch.setattr(mcp_servers, "version", old)
    job, events = started(tmp_path, 'echo "$@"')
    await CliAgentAdapter("codex", program=tmp_path / "program").run(job)
    assert said(events).endswith("the prompt")
    with pytest.raises(ConfigurationError, match=r"athanore\[mcp\]"):
        ClaudeAgentAdapter(board_access="mcp")


def test_the_lesson_names_tools_that_there_are() -> None:
    known = {tool.name for tool in TOOLS if "agents" in tool.given_to}
    named = {word.strip(",.:") for word in lesson(SERVERS).split() if "_" in word} - {"`task_id`"}
    assert named and named <= known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"board_access": "http"}, "board_access='http'"),
        ({"mcp_servers": {"athanore": McpServer("http://x")}}, "'athanore'"),
        ({"mcp_servers": {"a b": McpServer("http://x")}}, "'a b'"),
    ],
)
def test_what_will_not_do_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CliAgentAdapter("codex", **arguments)
    with pytest.raises(ConfigurationError, match=message):
        ClaudeAgentAdapter(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"url": "http://x", "command": ["x"]},
        {"command": "x y"},
        {"url": "http://x", "token_env": "a b"},
    ],
)
def test_a_server_is_an_address_or_a_program(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="McpServer"):
        McpServer(**arguments)
