"""The real programs of command line agents, set up for a scripted model.

They are those of the folder that ATHANORE_TEST_AGENTS names (`node_modules/.bin`).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from athanore.agent_adapters.cli import CliAgentAdapter
from tests.agents.model import Call, Model

AGENTS = os.environ.get("ATHANORE_TEST_AGENTS", "")


def needs(program: str) -> str:
    """Skip a test whose program is not there; under CI, where `.ci/nightly` brings it, fail it."""
    if shutil.which(program, path=AGENTS) is None:
        lacks = f"ATHANORE_TEST_AGENTS names no folder with {program}"
        if os.environ.get("CI") == "true":
            pytest.fail(lacks)
        pytest.skip(lacks)
    return program


@contextmanager
def home_folder() -> Generator[Path]:
    """A home for an agent; Gemini CLI trusts nothing below a folder like /tmp."""
    folder = Path(tempfile.mkdtemp(prefix=".ath-", dir=Path.home()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def codex(model: Model, home: Path) -> tuple[CliAgentAdapter, dict[str, str]]:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(
        'model_provider = "stub"\n[model_providers.stub]\nname = "stub"\n'
        f'base_url = "{model.url}/v1"\nwire_api = "responses"\nenv_key = "STUB_KEY"\n'
        f'[mcp_servers.mine]\ncommand = "touch"\nargs = ["{home}/started"]\n'
    )
    return CliAgentAdapter("codex", model="m"), {"STUB_KEY": "k"}


def opencode(model: Model, home: Path) -> tuple[CliAgentAdapter, dict[str, str]]:
    options = {"baseURL": f"{model.url}/v1", "apiKey": "k"}
    provider: dict[str, Any] = {
        "npm": "@ai-sdk/openai-compatible",
        "options": options,
        "models": {"m": {}},
    }
    mine = {"type": "local", "command": ["touch", f"{home}/started"]}
    config = json.dumps({"provider": {"stub": provider}, "mcp": {"mine": mine}})
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.jsonc").write_text(f"// Mine.\n{config[:-1]},}}")
    return CliAgentAdapter("opencode", model="stub/m"), {}


def gemini(model: Model, home: Path) -> tuple[CliAgentAdapter, dict[str, str]]:
    (home / ".gemini").mkdir()
    settings = {
        "mcpServers": {"mine": {"command": "touch", "args": [f"{home}/started"]}},
        "security": {"auth": {"selectedType": "gemini-api-key"}},
    }
    (home / ".gemini" / "settings.json").write_text(json.dumps(settings))
    env = {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": model.url}
    return CliAgentAdapter("gemini", model="gemini-2.5-flash"), env


def qwen(model: Model, home: Path) -> tuple[CliAgentAdapter, dict[str, str]]:
    (home / ".qwen").mkdir()
    mine = {"mcpServers": {"mine": {"command": "touch", "args": [f"{home}/started"]}}}
    (home / ".qwen" / "settings.json").write_text(json.dumps(mine))
    extra = ["--auth-type", "openai", "--openai-base-url", f"{model.url}/v1"]
    return CliAgentAdapter("qwen", model="m", extra_args=extra), {"OPENAI_API_KEY": "k"}


SHELLS: dict[str, Call] = {
    "codex": ("!exec_command", {"cmd": "sleep 1; touch here"}),
    "opencode": ("!bash", {"command": "touch here", "description": "a step"}),
    "gemini": ("!run_shell_command", {"command": "touch here"}),
    "qwen": ("!run_shell_command", {"command": "touch here", "is_background": False}),
}
"""A call of each agent's shell, with its arguments."""


def shell(name: str, command: str) -> Call:
    """What has an agent run a command in its shell."""
    tool, arguments = SHELLS[name]
    return tool, {k: command if k in ("cmd", "command") else v for k, v in arguments.items()}


MAKE = {"codex": codex, "opencode": opencode, "gemini": gemini, "qwen": qwen}
