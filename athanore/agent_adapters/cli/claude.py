"""Claude Code without an SDK: `claude --output-format stream-json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from athanore.agent_adapters.claude.mcp import allowed_mcp, strict_mcp
from athanore.agent_adapters.claude.messages import Transcript
from athanore.agent_adapters.cli.preset import Options, Preset, flags
from athanore.agent_adapters.cli.reader import Json, StreamReader
from athanore.agent_adapters.common.accounts import claude_account
from athanore.agent_adapters.given.mcp_servers import Handed
from athanore.models import AgentEvent, AgentResult


class ClaudeReader(StreamReader):
    """Reads what `ClaudeAgentAdapter` reads, too."""

    def __init__(self, before: Mapping[str, Any]) -> None:
        super().__init__()
        self._events: list[AgentEvent] = []
        self._transcript = Transcript(self._events.append, lambda: None)

    def plain(self, stream: Literal["stdout", "stderr"], line: str) -> Iterable[AgentEvent]:
        """A reason for not starting is on standard error."""
        if stream == "stdout":
            return super().plain(stream, line)
        self._transcript.take_stderr(line)
        return self._told()

    def on(self, message: Json) -> Iterable[AgentEvent]:
        """Turn one message into events."""
        self._transcript.take(message)
        self.started, self.session = self._transcript.started, self._transcript.session_id
        return self._told()

    def refuse(self, tool: object) -> None:
        """Note that a tool was refused."""
        self._transcript.refuse(tool)

    def verdict(self, exit_code: int | None) -> AgentResult | None:
        """Say how the attempt ended."""
        return self._transcript.verdict(exit_code)

    def _told(self) -> list[AgentEvent]:
        told = list(self._events)
        self._events.clear()
        return told


def _words(options: Options, session: str | None) -> list[str]:
    known = {
        "--permission-mode": options.mode,
        "--model": options.model,
        "--resume": session,
    }
    stream = ["--output-format", "stream-json", "--verbose"]
    partial = ["--include-partial-messages"] if options.is_limited else []
    return [*stream, *partial, *flags(known), *options.extra_args, "-p"]


PRESET = Preset(
    name="claude",
    words=_words,
    reader=ClaudeReader,
    account=claude_account,
    hand=lambda servers, env, cwd: Handed(
        (*strict_mcp(servers), f"--allowedTools={','.join(allowed_mcp(servers))}")
    ),
    homes=("CLAUDE_CONFIG_DIR",),
    mode="acceptEdits",
    cost=True,
    interrupts=True,
)
