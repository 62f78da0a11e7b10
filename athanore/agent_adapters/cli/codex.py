"""Codex: `codex exec --json`. The shapes are those of Codex 0.169."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

from athanore.agent_adapters.cli import rollout
from athanore.agent_adapters.cli.preset import Options, Preset, flags
from athanore.agent_adapters.cli.reader import Json, StreamReader, note, obj, say
from athanore.agent_adapters.common.accounts import account
from athanore.agent_adapters.common.own_repository import own_repository
from athanore.agent_adapters.given.mcp_servers import Handed, Servers
from athanore.models import AgentEvent
from athanore.texts import count

_WAITS = re.compile(r"Reconnecting\.\.\.|Falling back from WebSockets")
_REFUSED = re.compile(r"Read-only file system|requires approval|rejected by user|denied by policy")
_NOISE = ("Reading additional input from stdin",)
_BARE = re.compile(r"[A-Za-z0-9_-]+")  # Codex takes no other name in a setting of its command line


class CodexReader(StreamReader):
    """Reads `codex exec --json`; usage is that of the thread, so what it had before is subtracted.

    Without an end to it, Codex says that it tries to reach its provider: that is no sign of life.
    """

    def __init__(self, before: Mapping[str, Any]) -> None:
        super().__init__()
        self._before = before

    def plain(self, stream: Literal["stdout", "stderr"], line: str) -> Iterable[AgentEvent]:
        """Leave out what is said in each run."""
        return () if line.startswith(_NOISE) else super().plain(stream, line)

    def on(self, message: Json) -> Iterator[AgentEvent]:
        """Turn one message into events."""
        kind = message.get("type")
        if kind == "error":
            yield from self._on_error(str(message.get("message") or ""))
            return
        self.waits = False
        match kind:
            case "thread.started":
                yield from self.begin(message.get("thread_id"))
            case "item.started" | "item.updated" | "item.completed":
                yield from self._on_item(str(kind), obj(message.get("item")))
            case "turn.completed":
                self.error = None
                yield from self._on_usage(obj(message.get("usage")))
            case "turn.failed":
                self.error = str(obj(message.get("error")).get("message") or "the turn failed")
                yield from say("stderr", self.error)
            case _:
                pass

    def _on_error(self, text: str) -> Iterator[AgentEvent]:
        if not _WAITS.match(text):
            self.error = text  # unless the turn ends well
        elif not self.waits:
            self.waits = True
            yield note(text)

    def _on_item(self, kind: str, item: Json) -> Iterator[AgentEvent]:
        call = item.get("id")
        match item.get("type"):
            case "agent_message" if kind == "item.completed":
                yield from say("stdout", str(item.get("text") or ""))
            case "error":
                yield from say("stderr", str(item.get("message") or ""))
            case "command_execution":
                yield from self.use(call, "shell", {"command": item.get("command")})
                text = item.get("aggregated_output")
                yield from self._on_end(kind, item, text)
            case "mcp_tool_call":
                name = f"{item.get('server')}.{item.get('tool')}"
                yield from self.use(call, name, item.get("arguments"))
                said = obj(item.get("error")).get("message") or item.get("result")
                text = said if isinstance(said, str) else json.dumps(said, default=str)
                yield from self._on_end(kind, item, text)
            case "file_change":
                yield from self.use(call, "file_change", item.get("changes"))
                yield from self._on_end(kind, item, "")
            case "web_search":
                yield from self.use(call, "web_search", item.get("query"))
            case _:
                pass

    def _on_end(self, kind: str, item: Json, text: object) -> Iterator[AgentEvent]:
        if kind != "item.completed":
            return
        status = item.get("status")
        failed = status not in ("completed", None)
        refused = status == "declined" or (failed and bool(_REFUSED.search(str(text))))
        yield from self.got(item.get("id"), text, failed=failed, refused=refused)

    def _on_usage(self, usage: Json) -> Iterator[AgentEvent]:
        kinds = ["input_tokens", "output_tokens"]
        if cached := usage.get("cached_input_tokens"):
            usage, kinds = usage | {"cache_read_tokens": cached}, [*kinds, "cache_read_tokens"]
        self.totals = {kind: count(usage.get(kind)) for kind in kinds}
        before = {kind: count(self._before.get(kind)) for kind in kinds}
        yield from self.spent(**{k: max(0, self.totals[k] - before[k]) for k in kinds})


def _words(options: Options, session: str | None) -> list[str]:
    # `exec resume` takes no -s; a setting holds in both.
    words = ["exec", *(["resume"] if session else []), "--json", "--skip-git-repo-check"]
    if options.mode is not None:
        words += ["-c", f'sandbox_mode="{options.mode}"']
    if options.mode == "workspace-write":  # else the task API cannot be reached
        words += ["-c", "sandbox_workspace_write.network_access=true"]
    words += [*flags({"-m": options.model}), *options.extra_args]
    return [*words, session] if session else words


def _hand(servers: Servers, env: Mapping[str, str], cwd: Path) -> Handed:
    # This is put over what the files have, so each of their servers is switched off.
    settings = [f"{name}.enabled=false" for name in _configured(env) if name not in servers]
    for name, server in servers.items():
        given: dict[str, Any] = {"enabled": True, "default_tools_approval_mode": "approve"}
        if server.url:
            given |= {"url": server.url, "bearer_token_env_var": server.token_env}
        else:
            program, *args = server.command
            given |= {"command": program, "args": args, "env_vars": list(server.env)}
        settings += [f"{name}.{key}={_toml(value)}" for key, value in given.items() if value != ""]
    words = [word for setting in settings for word in ("-c", f"mcp_servers.{setting}")]
    return Handed(tuple(words))


def _allow(mode: str | None, env: Mapping[str, str]) -> list[str]:
    """Have it commit in the task's own clone: its sandbox keeps `.git` from being written."""
    repository = own_repository(env)
    if mode != "workspace-write" or repository is None:
        return []
    # This is put in the place of what the files have.
    roots: list[object] = []
    for config in _configs(env):
        found = obj(config.get("sandbox_workspace_write")).get("writable_roots")
        roots = cast("list[object]", found) if isinstance(found, list) else roots
    given = _toml([*roots, str(repository)])
    return ["-c", f"sandbox_workspace_write.writable_roots={given}"]


def _configured(env: Mapping[str, str]) -> list[str]:
    """The servers that Codex knows of by its files; it trusts no folder by itself."""
    found: dict[str, None] = {}
    for config in _configs(env):
        found |= dict.fromkeys(obj(config.get("mcp_servers")))
    return [name for name in found if _BARE.fullmatch(name)]


def _configs(env: Mapping[str, str]) -> Iterator[Json]:
    """Its files, that of its user last."""
    home = env.get("CODEX_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".codex")
    for path in (Path("/etc/codex/config.toml"), Path(home, "config.toml")):
        with suppress(OSError, ValueError):
            yield tomllib.loads(path.read_text(encoding="utf-8"))


def _toml(value: object) -> str:
    return json.dumps(value)  # what is written here is the same in both


def _account(env: Mapping[str, str]) -> str:
    return account("codex", env, ("CODEX_API_KEY", "OPENAI_API_KEY"), ("CODEX_HOME", "HOME"))


PRESET = Preset(
    name="codex",
    words=_words,
    reader=CodexReader,
    account=_account,
    hand=_hand,
    homes=("CODEX_HOME",),
    mode="workspace-write",
    interrupts=True,
    allow=_allow,
    noted=rollout.noted,
)
