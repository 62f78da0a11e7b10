"""The configuration of OpenCode that is in its environment."""

from __future__ import annotations

import json
import re

from athanore.agent_adapters.cli.reader import Json, obj

CONFIG = "OPENCODE_CONFIG_CONTENT"

_STRING_OR_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(\s*[}\]])', re.DOTALL)


def parsed(text: str) -> Json | None:
    """JSON with comments, and with commas after the last of a list."""
    text = _STRING_OR_COMMENT.sub(lambda found: found[1] or "", text)
    text = _STRING_OR_COMMA.sub(lambda found: found[1] or found[2], text)
    try:
        return obj(json.loads(text))
    except ValueError:
        return None
