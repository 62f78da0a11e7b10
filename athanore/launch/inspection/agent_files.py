"""Keys of ours in the configuration of agents, where every agent of the same user finds them."""

from __future__ import annotations

from pathlib import Path

from athanore.dispatcher import AgentDispatcher
from athanore.runs.kept.keys import PATTERN

_OF_THE_USER = (
    ".claude.json",
    ".claude/settings.json",
    ".claude/settings.local.json",
    ".codex/config.toml",
    ".config/opencode/config.json",
    ".config/opencode/opencode.json",
    ".config/opencode/opencode.jsonc",
    ".gemini/settings.json",
    ".qwen/settings.json",
    ".cursor/mcp.json",
    ".config/Claude/claude_desktop_config.json",
    "Library/Application Support/Claude/claude_desktop_config.json",
)
_OF_A_FOLDER = (
    ".mcp.json",
    ".claude/settings.json",
    ".claude/settings.local.json",
    ".codex/config.toml",
    "opencode.json",
    "opencode.jsonc",
    ".gemini/settings.json",
    ".qwen/settings.json",
    ".cursor/mcp.json",
    ".vscode/mcp.json",
)
_LARGEST = 10_000_000


def files_with_keys(dispatcher: AgentDispatcher) -> list[Path]:
    """The configuration files of agents here that hold a key of ours, or the operators' key."""
    secret = dispatcher.settings.api_key
    operators = secret.get_secret_value() if secret is not None else ""
    folders = {Path.cwd(), *(r.cwd for r in dispatcher.routes.values() if r.cwd is not None)}
    paths = [Path.home() / name for name in _OF_THE_USER]
    paths += [folder / name for folder in sorted(folders) for name in _OF_A_FOLDER]
    return [path for path in dict.fromkeys(paths) if _holds(path, operators)]


def _holds(path: Path, operators: str) -> bool:
    try:
        if path.stat().st_size > _LARGEST:
            return False
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return PATTERN.search(text) is not None or (len(operators) >= 8 and operators in text)
