"""Gemini CLI: `gemini --output-format stream-json`. The shapes are those of Gemini CLI 0.61."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
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
_IDENTITY = {"NAME": "user.name", "EMAIL": "user.email"}
_PATIENCE = 5.0  # seconds
_WRONG_KEY = "API_KEY_INVALID"  # the API answers such a key with 400, not with 401
_ASKED_FOR = frozenset({"run_shell_command", "write_file", "replace", "web_fetch"})
"""Tools that a mode takes away in which somebody would have to be asked for them."""


class GeminiReader(StreamReader):
    """Reads `gemini --output-format stream-json`; its words come in pieces."""

    def __init__(self, before: Mapping[str, Any]) -> None:
        super().__init__()
        self._words = ""
        self._wrong_key = False

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
                yield from self._on_tool_result(message)
            case "result":
                yield from self._on_result(message, obj(message.get("stats")))
            case _:
                pass

    def _on_tool_result(self, message: Json) -> Iterator[AgentEvent]:
        failed = message.get("status") != "success"
        error = obj(message.get("error")) if failed else {}
        call = message.get("tool_id")
        taken_away = self._calls.get(str(call)) in _ASKED_FOR
        refused = error.get("type") == "policy_violation" or (
            error.get("type") == "tool_not_registered" and taken_away
        )
        text = error.get("message") or message.get("output")
        yield from self.got(call, text, failed=failed, refused=refused)

    def _on_result(self, message: Json, stats: Json) -> Iterator[AgentEvent]:
        kinds = ("input_tokens", "output_tokens")
        yield from self.spent(**{kind: count(stats.get(kind)) for kind in kinds})
        if message.get("status") == "error":
            error = str(obj(message.get("error")).get("message") or "an error without words")
            self.error = _words_of(error)
            self._wrong_key = _WRONG_KEY in error

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
            self.status = 401 if self._wrong_key else status
            self.error = self.error or f"API error {status}"
        return super().verdict(exit_code)


def _words_of(error: str) -> str:
    """The words of an error that quotes the JSON of the API's answer."""
    quoted = error.removeprefix("[API Error: ").removesuffix("]")
    try:
        words = obj(obj(json.loads(quoted)).get("error")).get("message")
    except ValueError:
        return error
    return str(words or error)


def _words(options: Options, session: str | None) -> list[str]:
    known = {"--approval-mode": options.mode, "-m": options.model, "--resume": session}
    stream = ["--output-format", "stream-json"]
    return [*stream, *flags(known), *options.extra_args, "-p"]


def _account(env: Mapping[str, str]) -> str:
    return account("gemini", env, ("GEMINI_API_KEY", "GOOGLE_API_KEY"), ("HOME",))


def signing(env: Mapping[str, str]) -> Mapping[str, str]:
    """Have it commit as its user: it keeps git's configuration from what it calls."""
    found: dict[str, str] = {}
    for variable, setting in _IDENTITY.items():
        with suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(
                ["git", "config", "--global", "--includes", "--get", setting],
                env=dict(env),
                cwd="/",
                timeout=_PATIENCE,
                check=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
            said = answer.stdout.decode(errors="replace").strip()
            found |= {f"GIT_{who}_{variable}": said for who in ("AUTHOR", "COMMITTER") if said}
    return {**found, **env}


PRESET = Preset(
    name="gemini",
    words=_words,
    reader=GeminiReader,
    account=_account,
    hand=lambda servers, env, cwd: in_settings("GEMINI_CLI_SYSTEM_SETTINGS_PATH", servers),
    mode="yolo",
    env={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
    prepare=signing,
)
