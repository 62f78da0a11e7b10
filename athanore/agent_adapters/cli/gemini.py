"""Gemini CLI: `gemini --output-format stream-json`. The shapes are those of Gemini CLI 0.61."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from athanore.agent_adapters.cli.preset import Options, Preset, flags, in_settings
from athanore.agent_adapters.cli.reader import Json, StreamReader, obj, say
from athanore.agent_adapters.common.accounts import account
from athanore.models import AgentEvent, AgentOutcome, AgentResult, Fault, FaultKind
from athanore.texts import count

_SET_UP = {
    41: "Gemini CLI is not signed in",
    44: "the sandbox of Gemini CLI cannot be used",
    52: "the settings of Gemini CLI are wrong",
    55: "Gemini CLI does not trust the folder",
}
_MAX_TURNS = 53


class GeminiReader(StreamReader):
    """Reads `gemini --output-format stream-json`; its words come in pieces."""

    def __init__(self, before: Mapping[str, Any]) -> None:
        super().__init__()
        self._words = ""

    def plain(self, stream: Literal["stdout", "stderr"], line: str) -> Iterable[AgentEvent]:
        """Leave out the stack of an error of JavaScript."""
        return () if line.startswith("    at ") else super().plain(stream, line)

    def on(self, message: Json) -> Iterator[AgentEvent]:
        """Turn one message into events."""
        kind = message.get("type")
        if kind == "message":
            if message.get("role") == "assistant":
                *lines, self._words = (self._words + str(message.get("content") or "")).split("\n")
                yield from say("stdout", "\n".join(lines))
            return
        yield from say("stdout", self._words)
        self._words = ""
        match kind:
            case "init":
                yield from self.begin(message.get("session_id"), message.get("model"))
            case "tool_use":
                name = str(message.get("tool_name"))
                yield from self.use(message.get("tool_id"), name, message.get("parameters"))
            case "tool_result":
                failed = message.get("status") != "success"
                text = obj(message.get("error")).get("message") if failed else None
                text = text or message.get("output")
                yield from self.got(message.get("tool_id"), text, failed=failed)
            case "result":
                yield from self._on_result(message, obj(message.get("stats")))
            case _:
                pass

    def _on_result(self, message: Json, stats: Json) -> Iterator[AgentEvent]:
        kinds = ("input_tokens", "output_tokens")
        yield from self.spent(**{kind: count(stats.get(kind)) for kind in kinds})
        if message.get("status") == "error":
            error = obj(message.get("error")).get("message")
            self.error = str(error or "an error without words")

    def verdict(self, exit_code: int | None) -> AgentResult | None:
        """The exit code is the low byte of the API's status, or one of the program's own."""
        code = exit_code or 0
        if code in _SET_UP:
            fault = Fault(FaultKind.ENVIRONMENT, text=_SET_UP[code])
            return AgentResult(
                AgentOutcome.FAILED, _SET_UP[code], exit_code, retryable=False, fault=fault
            )
        if code == _MAX_TURNS:
            return AgentResult(AgentOutcome.FAILED, "max turns reached", exit_code)
        status = code + 256
        if 400 <= status < 512:  # the exit code is its low byte
            self.status = status
            self.error = self.error or f"API error {status}"
        return super().verdict(exit_code)


def _words(options: Options, session: str | None) -> list[str]:
    known = {"--approval-mode": options.mode, "-m": options.model, "--resume": session}
    stream = ["--output-format", "stream-json"]
    return [*stream, *flags(known), *options.extra_args, "-p"]


def _account(env: Mapping[str, str]) -> str:
    return account("gemini", env, ("GEMINI_API_KEY", "GOOGLE_API_KEY"), ("HOME",))


PRESET = Preset(
    name="gemini",
    words=_words,
    reader=GeminiReader,
    account=_account,
    hand=lambda servers, env, cwd: in_settings("GEMINI_CLI_SYSTEM_SETTINGS_PATH", servers),
    mode="yolo",
    env={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
)
