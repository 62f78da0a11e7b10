"""What a preset is: data, and a reader of the program's JSON stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from athanore.agent_adapters.cli.reader import StreamReader
from athanore.agent_adapters.given.mcp_servers import Handed, Servers


@dataclass(frozen=True, slots=True)
class Options:
    """What a user says of the agent; None leaves it to the program's own configuration.

    Attributes:
        is_limited: a budget binds the attempt, so that the program has to tell often what it uses.
    """

    model: str | None
    mode: str | None
    extra_args: tuple[str, ...]
    is_limited: bool = False


class Reset(NamedTuple):
    """Which usage limit is reached, and when it is reset."""

    kind: str
    at: datetime


class Noted(NamedTuple):
    """What a program has written down of its provider's usage limits.

    Attributes:
        reset: of the limit that is reached; None if none is.
        near: those that are nearly reached: `kind`, `used` from 0 to 1, `resets_at`.
    """

    reset: Reset | None
    near: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Preset:
    """A program that is an agent.

    Attributes:
        name: what it is called in `CliAgentAdapter(name)`, and its program.
        words: the arguments before the prompt, from the options and the session to go on with.
        reader: makes the reader of an attempt, from what the session had used before it.
        account: whose usage limits count; see `SupportsAccount`.
        homes: the variables that may name the folder in which it keeps sessions, before HOME.
        mode: the mode for a user who names none: one in which the agent can do its work.
        env: variables that the program needs; the job's own win.
        prepare: adds to its environment what it needs and has to be found out; what it tells of its
            waits by, say.
        cost: it tells dollars, and not only tokens.
        interrupts: it tells what it has spent when it is interrupted.
        hand: how the program is told of the servers of MCP that it has, and of no others; from
            their names, its environment and the folder in which it starts.
        allow: the arguments with which it may commit in the task's own clone, from its mode and its
            environment; None where it may anyway.
        noted: finds what the program has written down of usage limits, from the agent's environment
            and the session.
    """

    name: str
    words: Callable[[Options, str | None], list[str]]
    reader: Callable[[Mapping[str, Any]], StreamReader]
    account: Callable[[Mapping[str, str]], str]
    hand: Callable[[Servers, Mapping[str, str], Path], Handed]
    homes: tuple[str, ...] = ()
    mode: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    prepare: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda env: env
    cost: bool = False
    interrupts: bool = False
    allow: Callable[[str | None, Mapping[str, str]], Sequence[str]] | None = None
    noted: Callable[[Mapping[str, str], str], Noted] | None = None


def in_settings(variable: str, servers: Servers) -> Handed:
    """Settings that Gemini CLI and its offspring read before those of their user."""
    known: dict[str, Any] = {}
    for name, server in servers.items():
        if server.url:
            token = {"Authorization": f"Bearer ${{{server.token_env}}}"} if server.token_env else {}
            known[name] = {"httpUrl": server.url, "headers": token}
        else:
            program, *args = server.command
            env = {wanted: f"${{{wanted}}}" for wanted in server.env}
            known[name] = {"command": program, "args": args, "env": env}
    allowed = [word for name in servers for word in ("--allowed-mcp-server-names", name)]
    return Handed(tuple(allowed), settings=(variable, json.dumps({"mcpServers": known})))


def flags(values: Mapping[str, str | None]) -> list[str]:
    """Options of a command line with their values, without those that have none."""
    return [word for flag, value in values.items() if value is not None for word in (flag, value)]
