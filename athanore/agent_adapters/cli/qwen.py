"""Qwen Code: it speaks Claude's format. The shapes are those of Qwen Code 0.24."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from athanore.agent_adapters.cli.claude import ClaudeReader
from athanore.agent_adapters.cli.preset import Options, Preset, flags, in_settings
from athanore.agent_adapters.cli.reader import Json, failure, obj, objects
from athanore.agent_adapters.common.accounts import account
from athanore.models import AgentEvent, AgentResult
from athanore.texts import count

_API_ERROR = re.compile(r"\[API Error: (?:([45]\d\d)\b)?")
_WAITS_FOR_LIMIT = re.compile(r"Retrying in \d+s \(attempt \d+/\d+\): (\[API Error: 429\b.*)")
"""It says so after a minute and a half in vain, and would wait for an hour."""


class QwenReader(ClaudeReader):
    """Says of errors what Claude says in other fields.

    The tokens of its result are those of the session, so those of the messages are summed. Which
    calls were refused is only said by the result, too. While it waits for a usage limit it is not
    waited for.
    """

    def __init__(self, before: Mapping[str, Any]) -> None:
        super().__init__(before)
        self._counted = ""
        self._used = {"input_tokens": 0, "output_tokens": 0}
        self._failed: dict[str, str] = {}

    def plain(self, stream: Literal["stdout", "stderr"], line: str) -> Iterable[AgentEvent]:
        """Only on standard error it says why it waits."""
        if found := _WAITS_FOR_LIMIT.match(line):
            self.error, self.is_over = found[1], True
        return super().plain(stream, line)

    def verdict(self, exit_code: int | None) -> AgentResult | None:
        """Say how the attempt ended."""
        if self.is_over and self.error is not None:
            return failure(self.error, exit_code, status=429)
        return super().verdict(exit_code)

    def on(self, message: Json) -> Iterable[AgentEvent]:
        """Turn one message into events."""
        if message.get("type") == "assistant":
            self._count(obj(message.get("message")))
            self._follow(message)
        elif message.get("type") == "user":
            self._follow(message)
        elif message.get("type") == "result":
            self._refuse(message)
            message = message | {"usage": dict(self._used)}
        text = obj(message.get("error")).get("message")
        if message.get("type") == "result" and isinstance(text, str):
            message = message | {"errors": [text]}
            if found := _API_ERROR.match(text):
                status = int(found[1]) if found[1] else None
                message |= {"terminal_reason": "api_error", "api_error_status": status}
        return super().on(message)

    def _follow(self, message: Json) -> None:
        """Note which calls have failed, and none of their tool has been a success since."""
        for block in objects(obj(message.get("message")).get("content")):
            if block.get("type") == "tool_use":
                self._calls[str(block.get("id"))] = str(block.get("name"))
            elif block.get("type") == "tool_result":
                call = str(block.get("tool_use_id"))
                tool = self._calls.pop(call, "")
                if block.get("is_error"):
                    self._failed[call] = tool
                else:
                    self._failed = {c: t for c, t in self._failed.items() if t != tool}

    def _refuse(self, result: Json) -> None:
        for denial in objects(result.get("permission_denials")):
            if str(denial.get("tool_use_id")) in self._failed:
                self.refuse(denial.get("tool_name"))

    def _count(self, body: Json) -> None:
        """Count a message once, though each of its blocks may come as one, after the other."""
        identity = str(body.get("id"))
        if identity != self._counted:
            self._counted = identity
            for kind in self._used:
                self._used[kind] += count(obj(body.get("usage")).get(kind))


def _words(options: Options, session: str | None) -> list[str]:
    known = {"--approval-mode": options.mode, "-m": options.model, "--resume": session}
    stream = ["--output-format", "stream-json"]
    return [*stream, *flags(known), *options.extra_args, "-p"]


def _account(env: Mapping[str, str]) -> str:
    return account("qwen", env, ("OPENAI_API_KEY", "DASHSCOPE_API_KEY"), ("HOME",))


PRESET = Preset(
    name="qwen",
    words=_words,
    reader=QwenReader,
    account=_account,
    hand=lambda servers, env, cwd: in_settings("QWEN_CODE_SYSTEM_SETTINGS_PATH", servers),
    mode="yolo",
)
