"""The servers of MCP that an agent is given: its board's, and those that its adapter names.

The board's is the task API (`/mcp`). What a server is told of secrets are names of variables, which
the agent's program fills in by itself: no command line and no file has a token in it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from athanore.errors import ConfigurationError

type BoardAccess = Literal["mcp", "curl"]

BOARD = "athanore"
"""What the board's server is called."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OLDEST = (2, 3)

_LESSON = """\
# The task board
You work on one task of a task board. Its tools are those of the MCP server `athanore`: get_task \
reads your task with its comments and checklist, add_comment comments on it, move_task moves it to \
another queue, update_task changes it, create_task creates another one, list_queues lists the \
queues, and report_progress says how far you are. They know your task: leave `task_id` out. Read \
it first. Comment what people should know about your work, and move the task when, and only where, \
your instructions say so."""


@dataclass(frozen=True, slots=True)
class McpServer:
    """A server of MCP for agents: an address, or a program that the agent starts.

    Args:
        url: of a server over HTTP.
        token_env: the variable of the agent's environment whose value is sent to it as
            `Authorization: Bearer ...`.
        command: a program and its arguments, word by word, that speaks MCP over stdin and stdout.
        env: names of variables of the agent's environment that the program needs.

    Raises:
        ConfigurationError: it is neither or both, or a name is none.
    """

    url: str = ""
    token_env: str = ""
    command: Sequence[str] = ()
    env: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.command, str) or isinstance(self.env, str):
            raise ConfigurationError("McpServer: command= and env= are lists of words.")
        if bool(self.url) == bool(self.command):
            raise ConfigurationError("McpServer: give url=, or command=, and not both.")
        for name in filter(None, (self.token_env, *self.env)):
            if not _VARIABLE.fullmatch(name):
                raise ConfigurationError(f"McpServer: {name!r} is no name of a variable.")


type Servers = Mapping[str, McpServer]


@dataclass(frozen=True, slots=True)
class Handed:
    """How a program is told of its servers, so that it has no others.

    Attributes:
        args: of its command line.
        env: further variables.
        settings: the text of a file of settings, and the variable that names the file.
    """

    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    settings: tuple[str, str] | None = None


def checked(board_access: BoardAccess | None, servers: Servers | None) -> dict[str, McpServer]:
    """The servers that a user names, as they may be.

    Raises:
        ConfigurationError: a name will not do, or the board's is not to be had by MCP here.
    """
    if board_access not in (None, "mcp", "curl"):
        raise ConfigurationError(f'board_access={board_access!r} must be "mcp" or "curl".')
    if board_access == "mcp" and not is_installed():
        raise ConfigurationError(
            'board_access="mcp" needs the extra `mcp`. Beside your clone of Athanore: '
            'pip install "./athanore[mcp]"'
        )
    for name in servers or ():
        if not _NAME.fullmatch(name) or name == BOARD:
            raise ConfigurationError(
                f"mcp_servers: {name!r} must be letters, digits, - and _, and not {BOARD!r}, which "
                "is the board's."
            )
    return dict(servers or {})


def is_installed() -> bool:
    """Tell whether the extra `mcp` is there."""
    try:
        found = version("mcp")
    except PackageNotFoundError:
        return False
    return tuple(int(part) for part in re.findall(r"\d+", found)[:2]) >= _OLDEST


def board_server(board_access: BoardAccess | None, env: Mapping[str, str]) -> Servers:
    """The board's server for the agent that `env` is for; none if it calls the board with curl.

    Args:
        board_access: None for MCP where the extra is there.
    """
    url = env.get("ATHANORE_API_URL", "")
    if board_access == "curl" or not url or not (board_access or is_installed()):
        return {}
    token = "ATHANORE_TOKEN" if env.get("ATHANORE_TOKEN") else ""
    return {BOARD: McpServer(f"{url.rstrip('/')}/mcp", token)}


def lesson(servers: Servers) -> str:
    """What an agent is told about the tools of its board; empty if it has none."""
    return _LESSON if BOARD in servers else ""


@contextmanager
def written(handed: Handed, env: Mapping[str, str]) -> Generator[Mapping[str, str]]:
    """Give the further variables of a program; its settings are a file for the time of the block.

    Only this user may read the file. It lies in the home folder, because Gemini CLI trusts no
    settings below a folder that others may write to.

    Raises:
        OSError: the file cannot be written.
    """
    if handed.settings is None:
        yield handed.env
        return
    variable, text = handed.settings
    home = env.get("HOME") or None
    with tempfile.TemporaryDirectory(
        prefix=".athanore-", dir=home, ignore_cleanup_errors=True
    ) as folder:
        path = Path(folder, "settings.json")
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        yield {**handed.env, variable: str(path)}
