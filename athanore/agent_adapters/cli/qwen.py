"""Qwen Code: it speaks Claude's format. The shapes are those of Qwen Code 0.24."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from athanore.agent_adapters.cli.claude import ClaudeReader
from athanore.agent_adapters.cli.preset import Options, Preset, flags, in_settings
from athanore.agent_adapters.cli.reader import Json, obj
from athanore.agent_adapters.common.accounts import account
from athanore.models import AgentEvent
from athanore.texts import count

_API_ERROR = re.compile(r"\[API Error: (?:([45]\d\d)\b)?")


class QwenReader(ClaudeReader):
    """Says of errors what Claude says in other fields.

    The tokens of its result are those of the session, so those of the messages are summed.
    """

    def __init__(self, before: Mapping[str, Any]) -> None:
        super().__init__(before)
        self._counted = ""
        self._used = {"input_tokens": 0, "output_tokens": 0}

    def on(self, message: Json) -> Iterable[AgentEvent]:
        """Turn one message into events."""
        if message.get("type") == "assistant":
            self._count(obj(message.get("message")))
        elif message.get("type") == "result":
            message = message | {"usage": dict(self._used)}
        text = obj(message.get("error")).get("message")
        if message.get("type") == "result" and isinstance(text, str):
            message = message | {"errors": [text]}
            if found := _API_ERROR.match(text):
                status = int(found[1]) if found[1] else None
                message |= {"terminal_reason": "api_error", "api_error_status": status}
        return super().on(message)

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
