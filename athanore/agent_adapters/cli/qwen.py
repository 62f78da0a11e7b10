"""Qwen Code: it speaks Claude's format. The shapes are those of Qwen Code 0.24."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from athanore.agent_adapters.accounts import account
from athanore.agent_adapters.cli.claude import ClaudeReader
from athanore.agent_adapters.cli.preset import Options, Preset, flags
from athanore.agent_adapters.cli.reader import Json, obj
from athanore.models import AgentEvent

_API_ERROR = re.compile(r"\[API Error: (?:([45]\d\d)\b)?")


class QwenReader(ClaudeReader):
    """Says of errors what Claude says in other fields."""

    def on(self, message: Json) -> Iterable[AgentEvent]:
        """Turn one message into events."""
        text = obj(message.get("error")).get("message")
        if message.get("type") == "result" and isinstance(text, str):
            message = message | {"errors": [text]}
            if found := _API_ERROR.match(text):
                status = int(found[1]) if found[1] else None
                message |= {"terminal_reason": "api_error", "api_error_status": status}
        return super().on(message)


def _words(options: Options, session: str | None) -> list[str]:
    known = {"--approval-mode": options.mode, "-m": options.model, "--resume": session}
    stream = ["--output-format", "stream-json"]
    return [*stream, *flags(known), *options.extra_args, "-p"]


def _account(env: Mapping[str, str]) -> str:
    return account("qwen", env, ("OPENAI_API_KEY", "DASHSCOPE_API_KEY"), ("HOME",))


PRESET = Preset(name="qwen", words=_words, reader=QwenReader, account=_account, mode="yolo")
