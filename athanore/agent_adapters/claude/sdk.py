"""Which Claude SDK is installed, which CLI goes with it, and one conversation driven by it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from athanore.agent_adapters.claude.messages import Json, Transcript
from athanore.agent_adapters.claude.process import ClaudeProcess

SDKS = {"claude_agent_sdk": "ClaudeAgentOptions", "claude_code_sdk": "ClaudeCodeOptions"}
"""The packages that the adapter runs on, best first, and their options classes."""

ASKS = {"permission-prompt-tool": "stdio"}
"""The option with which the CLI asks for permission what its mode does not allow."""

_CLI_FOLDERS = (
    ".local/bin",
    ".claude/local",
    ".npm-global/bin",
    "node_modules/.bin",
    ".yarn/bin",
)


def installed_sdk() -> str:
    """The name of the best SDK that is installed.

    Raises:
        ImportError: none is; the message says what to install.
    """
    for name in SDKS:
        if find_spec(name) is not None:
            return name
    raise ImportError(
        "ClaudeAgentAdapter needs claude-agent-sdk or claude-code-sdk. Beside your clone of "
        'Athanore: pip install "./athanore[claude]"'
    )


def find_cli(sdk: str, env: Mapping[str, str]) -> str | None:
    """The CLI: the one in the SDK's wheel, or on PATH, or where its installers put it.

    PATH and HOME are the agent's (`env`), not the worker's.
    """
    spec = find_spec(sdk)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        bundled = Path(folder) / "_bundled" / "claude"
        if bundled.is_file():
            return str(bundled)
    if found := shutil.which("claude", path=env.get("PATH", "")):
        return found
    homes = [Path(env["HOME"]) / f for f in _CLI_FOLDERS] if env.get("HOME") else []
    for folder in (*homes, Path("/usr/local/bin")):
        if (folder / "claude").is_file():
            return str(folder / "claude")
    return None


type May = Callable[[str, Json], Awaitable[bool]]
"""Says whether a tool may be used, of its name and its input."""


async def converse(
    sdk: str,
    process: ClaudeProcess,
    transcript: Transcript,
    prompt: str,
    subagent: str | None,
    may: May | None = None,
) -> None:
    """Have the SDK lead the conversation to its end; the transcript sees every message of it.

    Args:
        may: says what the CLI asks permission for (`ASKS`).

    The prompt goes over standard input: no `ps` shows it and no length limits it. It is not sent
    when the CLI knows no such subagent, for the CLI would quietly run its default agent.
    """
    # Half a second of imports, kept off the loop.
    module: Any = await asyncio.to_thread(importlib.import_module, sdk)

    async def messages() -> AsyncIterator[Json]:
        known = transcript.agents
        if subagent is not None and known is not None and subagent not in known:
            transcript.missing_subagent = subagent
            return
        message = {"role": "user", "content": prompt}
        yield {
            "type": "user",
            "session_id": "",
            "message": message,
            "parent_tool_use_id": None,
        }

    async def can_use_tool(name: str, given: Json, _: object) -> object:
        try:
            if may is not None and await may(name, given):
                return module.PermissionResultAllow()
        except Exception as exc:
            transcript.take_stderr(f"Nobody could say whether {name} is allowed: {exc!r}")
        transcript.refuse(name)
        return module.PermissionResultDeny(message="A person has not allowed this.")

    options = getattr(module, SDKS[sdk])()
    if may is not None:
        options.can_use_tool = can_use_tool
    stream = module.query(prompt=messages(), options=options, transport=process)
    async with contextlib.aclosing(stream):
        async for _ in stream:
            pass
