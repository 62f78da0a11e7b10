"""Asking people whether an agent may use a tool."""

from __future__ import annotations

import json
from typing import Any

from athanore.agent_adapters.base import Ask
from athanore.texts import cut

_LONGEST_INPUT = 1500  # characters of what a tool is given


async def people_may(ask: Ask, tool: str, given: Any) -> bool:
    """Ask people, and wait for what they say; any answer but `allow`, and none, is a no.

    Args:
        tool: what it is called, and what it is for.
        given: its input; None where the agent does not say.
    """
    text = f"May the agent use this tool? {tool}"
    if given is not None:
        text += f"\n\n{cut(json.dumps(given, default=str), _LONGEST_INPUT)}"
    return await ask(text, ("allow", "deny")) == "allow"
