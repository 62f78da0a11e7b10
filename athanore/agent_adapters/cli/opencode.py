"""OpenCode: `opencode run --format json`. The shapes are those of OpenCode 1.18."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from athanore.agent_adapters.cli.opencode_config import CONFIG, parsed
from athanore.agent_adapters.cli.opencode_waits import Wait, told, wait_in
from athanore.agent_adapters.cli.preset import Options, Preset, flags
from athanore.agent_adapters.cli.reader import Json, StreamReader, obj, say
from athanore.agent_adapters.common.accounts import account
from athanore.agent_adapters.given.mcp_servers import Handed, Servers
from athanore.models import AgentEvent, AgentResult
from athanore.texts import amount, count

_FILES = ("config.json", "opencode.json", "opencode.jsonc")


class OpenCodeReader(StreamReader):
    """Reads `opencode run --format json`, which has tokens and dollars of each step.

    It waits for its provider as long as that asks it to, without an end: that is no sign of life,
    and a long wait is not waited for.
    """

    def __init__(self, before: Mapping[str, Any]) -> None:
        super().__init__()
        self._steps = 0
        self._wait: Wait | None = None

    def plain(self, stream: Literal["stdout", "stderr"], line: str) -> Iterable[AgentEvent]:
        """Only on standard error it says for how long it waits, by our plugin."""
        wait = wait_in(line) if stream == "stderr" else None
        if wait is None:
            return super().plain(stream, line)
        told_before, self.waits = self.waits, True
        self._wait, self.is_over = wait, self.is_over or wait.is_long
        return () if told_before else (wait.event(),)

    def verdict(self, exit_code: int | None) -> AgentResult | None:
        """Say how the attempt ended."""
        if self.is_over and self._wait is not None:
            return self._wait.result(exit_code)
        return super().verdict(exit_code)

    def on(self, message: Json) -> Iterator[AgentEvent]:
        """Turn one message into events."""
        self.waits = False
        part = obj(message.get("part"))
        kind = message.get("type")
        if kind == "error":
            yield from self._on_error(obj(message.get("error")))
            return
        if message.get("sessionID"):
            yield from self.begin(message["sessionID"])
        self.error = self.status = None  # it has gone on since
        match kind:
            case "text":
                yield from say("stdout", str(part.get("text") or ""))
            case "tool_use":
                yield from self._on_tool(part, obj(part.get("state")))
            case "step_finish":
                yield from self._on_step(part, obj(part.get("tokens")))
            case _:
                pass

    def _on_tool(self, part: Json, state: Json) -> Iterator[AgentEvent]:
        call, failed = part.get("callID"), state.get("status") == "error"
        yield from self.use(call, str(part.get("tool")), state.get("input"))
        text = state.get("error") if failed else state.get("output")
        refused = failed and "rejected permission" in str(text)
        yield from self.got(call, text, failed=failed, refused=refused)

    def _on_step(self, part: Json, tokens: Json) -> Iterator[AgentEvent]:
        cache, used = obj(tokens.get("cache")), self.usage
        read = count(tokens.get("input")) + count(cache.get("read")) + count(cache.get("write"))
        written = count(tokens.get("output")) + count(tokens.get("reasoning"))
        self._steps += 1
        yield from self.spent(
            cost_usd=amount(used.get("cost_usd")) + amount(part.get("cost")),
            input_tokens=count(used.get("input_tokens")) + read,
            output_tokens=count(used.get("output_tokens")) + written,
            turns=self._steps,
        )

    def _on_error(self, error: Json) -> Iterator[AgentEvent]:
        data = obj(error.get("data"))
        self.error = str(data.get("message") or error.get("name") or "an error without words")
        self.status = count(data.get("statusCode")) or None
        after = str(obj(data.get("responseHeaders")).get("retry-after") or "")
        if after.isdecimal():
            seconds = int(after) if len(after) < 9 else 10**9
            self.retry_at = datetime.now(UTC) + timedelta(seconds=seconds)
        yield from say("stderr", self.error)


def _words(options: Options, session: str | None) -> list[str]:
    known = {"-m": options.model, "--agent": options.mode, "-s": session}
    return ["run", "--format", "json", *flags(known), *options.extra_args]


def _hand(servers: Servers, env: Mapping[str, str], cwd: Path) -> Handed:
    # This configuration is put over those of the files, so each of theirs is switched off.
    known: dict[str, Any] = {name: {"enabled": False} for name in _configured(env, cwd)}
    for name, server in servers.items():
        if server.url:
            token = f"Bearer {{env:{server.token_env}}}"
            headers = {"Authorization": token} if server.token_env else {}
            given: Json = {"type": "remote", "url": server.url, "headers": headers, "oauth": False}
        else:
            variables = {variable: f"{{env:{variable}}}" for variable in server.env}
            given = {"type": "local", "command": list(server.command), "environment": variables}
        known[name] = given | {"enabled": True}
    mine = parsed(env.get(CONFIG, "")) or {}
    theirs = obj(mine.get("mcp"))
    mine["mcp"] = {name: obj(theirs[name]) | {"enabled": False} for name in theirs} | known
    return Handed(env={CONFIG: json.dumps(mine)})


def _configured(env: Mapping[str, str], cwd: Path) -> list[str]:
    """The servers that OpenCode knows of by its files."""
    home = Path(env.get("HOME") or "~").expanduser()
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config", "opencode")
    folders = [config, *cwd.parents, cwd, *(p / ".opencode" for p in cwd.parents)]
    folders += [cwd / ".opencode", *map(Path, filter(None, [env.get("OPENCODE_CONFIG_DIR")]))]
    paths = [folder / name for folder in folders for name in _FILES]
    found: dict[str, None] = {}
    for path in (*paths, *map(Path, filter(None, [env.get("OPENCODE_CONFIG")]))):
        with suppress(OSError, UnicodeDecodeError):
            found |= dict.fromkeys(obj((parsed(path.read_text(encoding="utf-8")) or {}).get("mcp")))
    return list(found)


def _account(env: Mapping[str, str]) -> str:
    return account("opencode", env, (), ("XDG_DATA_HOME", "HOME"))


PRESET = Preset(
    name="opencode",
    words=_words,
    reader=OpenCodeReader,
    account=_account,
    hand=_hand,
    homes=("XDG_DATA_HOME",),
    prepare=told,
    cost=True,
)
