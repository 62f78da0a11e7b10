"""The tools that an agent uses, as it tells of them: what for, how they end, and which are refused.

A call is told once its arguments are known: agents announce it first, and say then what it is for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from athanore.agent_adapters.acp.dialects import Dialect
from athanore.agent_adapters.cli.reader import VALUE_LIMIT
from athanore.models import AgentEvent, EventKind
from athanore.texts import cut

_LONGEST_NAME = 80
_ENDED = ("completed", "failed")
_VAGUE = (None, "other")


@dataclass(slots=True)
class _Call:
    name: str
    kind: str | None = None
    arguments: object = None
    is_told: bool = False
    output: list[str] = field(default_factory=list[str])


class Tools:
    """Follows the calls of one attempt.

    Args:
        emit: takes the events.
    """

    def __init__(self, emit: Callable[[AgentEvent], None]) -> None:
        self.dialect = Dialect()
        self._emit = emit
        self._calls: dict[str, _Call] = {}
        self._refused: dict[str, str | None] = {}

    @property
    def refused(self) -> list[str]:
        """What was refused, and not used with success after it."""
        return list(self._refused)

    def announce(self, tool: Any) -> None:
        """Take a new call."""
        call = self._note(tool)
        if tool.status not in (None, "pending"):
            self._tell(call)
        self._end(tool)

    def update(self, tool: Any) -> None:
        """Take news of a call; of one that nobody has announced there is nothing to tell."""
        if tool.tool_call_id not in self._calls:
            return
        call = self._note(tool)
        call.output += _outputs(tool)
        self._tell(call)
        self._end(tool)

    def ask(self, tool: Any) -> str:
        """Take a call that the agent asks for; return what its tool is called."""
        call = self._note(tool)
        self._tell(call)
        return call.name

    def refuse(self, tool: Any) -> None:
        """Note that a call is refused."""
        call = self._note(tool)
        self._refused[call.name] = call.kind

    def _note(self, tool: Any) -> _Call:
        name = _name(tool)
        call = self._calls.setdefault(tool.tool_call_id, _Call(name or "a tool"))
        call.kind = tool.kind or call.kind
        call.arguments = call.arguments if tool.raw_input is None else tool.raw_input
        return call

    def _tell(self, call: _Call) -> None:
        if call.is_told:
            return
        call.is_told = True
        rendered = json.dumps(call.arguments, default=str)
        shown = call.arguments if len(rendered) <= VALUE_LIMIT else cut(rendered, VALUE_LIMIT)
        self._emit(AgentEvent(EventKind.TOOL_USE, {"name": call.name, "input": shown}))

    def _end(self, tool: Any) -> None:
        if tool.status not in _ENDED:
            return
        call, failed = self._calls.pop(tool.tool_call_id), tool.status == "failed"
        self._tell(call)
        text = cut(_text(tool) or "".join(call.output), VALUE_LIMIT)
        if not failed:
            self._allow(call)
        elif self.dialect.refusal and self.dialect.refusal.search(text):
            # One that reviews the call of another tool says so of that.
            meant = next(reversed(self._calls.values()), call)
            self._refused[meant.name] = meant.kind
        data = {"name": call.name, "is_error": failed, "text": text}
        self._emit(AgentEvent(EventKind.TOOL_RESULT, data))

    def _allow(self, call: _Call) -> None:
        """An agent that has found another way was not refused: names are often whole commands."""
        alike = [
            name
            for name, kind in self._refused.items()
            if name == call.name or (kind not in _VAGUE and kind == call.kind)
        ]
        for name in alike:
            del self._refused[name]


def _name(tool: Any) -> str:
    """What a tool is called: by the agent itself, else its title."""
    metas: dict[str, Any] = tool.field_meta or {}
    for meta in metas.values():
        if isinstance(meta, dict) and isinstance(name := cast(Any, meta).get("toolName"), str):
            return name
    return cut((tool.title or tool.kind or "").partition("\n")[0], _LONGEST_NAME)


def _text(tool: Any) -> str:
    parts = [getattr(getattr(c, "content", None), "text", None) for c in tool.content or ()]
    if said := "\n".join(str(part) for part in parts if part):
        return said
    raw = tool.raw_output
    return "" if raw is None else raw if isinstance(raw, str) else json.dumps(raw, default=str)


def _outputs(tool: Any) -> list[str]:
    """What a command has put out since the last update."""
    meta: dict[str, Any] = tool.field_meta or {}
    found = meta.get("terminal_output")
    data = cast(Any, found).get("data") if isinstance(found, dict) else None
    return [data] if isinstance(data, str) else []
