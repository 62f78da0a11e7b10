"""What an agent tells its client: words, tools, permissions that it asks for, and usage."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Literal, cast

from athanore.agent_adapters.acp.library import library
from athanore.agent_adapters.acp.tools import Tools
from athanore.agent_adapters.base import AgentJob
from athanore.agent_adapters.claude import limits
from athanore.agent_adapters.cli.opencode_waits import Wait, wait_in
from athanore.agent_adapters.cli.reader import say
from athanore.agent_adapters.common.output import Tail
from athanore.agent_adapters.common.permissions import people_may
from athanore.agent_adapters.common.resuming import keeping
from athanore.agent_adapters.given.sessions import Place, Session
from athanore.models import AgentEvent, EventKind

type Permissions = (
    Literal["deny", "allow", "ask"] | Callable[[str, str, Any], bool | Awaitable[bool]]
)
"""What an agent may do that it asks for; a function gets title, kind and input of the tool."""


class Conversation:
    """The client of one attempt: the methods are those of `acp.Client`.

    Attributes:
        tools: the tools that the agent uses; its dialect is that of the agent, once it is known.
        servers: the names of the servers of MCP that the agent is given.
        is_open: false while old messages of a session are told again.
    """

    def __init__(self, job: AgentJob, permissions: Permissions) -> None:
        self.tools = Tools(lambda event: self._emit(event))
        self.servers: Collection[str] = ()
        self.is_open = False
        self.usage: dict[str, Any] = {}
        self.limit: dict[str, Any] = {}
        self.words = Tail()
        self.noise = Tail()
        self._job = job
        self._permissions = permissions
        self._emit = job.emit
        self._before: Mapping[str, float] = {}
        self._totals: dict[str, float] = {}
        self._line = ""
        self._waits = False
        self._long: Wait | None = None
        self._waits_long = asyncio.Event()

    # -- what the agent calls -------------------------------------------------------------------

    async def session_update(self, session_id: str, update: Any, **kwargs: Any) -> None:
        """Take what the agent tells of its work."""
        self._job.alive()
        self._waits = False
        if not self.is_open:
            return
        match update.session_update:
            case "agent_message_chunk":
                self._hear(str(getattr(update.content, "text", "")))
            case "tool_call":
                self.flush()
                self.tools.announce(update)
            case "tool_call_update":
                self.tools.update(update)
            case "usage_update":
                self._on_usage(update)
            case _:
                pass

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **kwargs: Any
    ) -> Any:
        """Answer for the people who are not there."""
        self.flush()
        name = self.tools.ask(tool_call)
        allowed = await self._may(tool_call, name)
        kinds = ("allow_once", "allow_always") if allowed else ("reject_once", "reject_always")
        chosen = next((o for kind in kinds for o in options if o.kind == kind), None)
        if not allowed:
            self.tools.refuse(tool_call)
        outcome = {"outcome": "cancelled"}
        if chosen is not None:
            outcome = {"outcome": "selected", "optionId": str(chosen.option_id)}
        return library().schema.RequestPermissionResponse.model_validate({"outcome": outcome})

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """Leave alone what other clients understand."""

    # -- what the adapter calls -----------------------------------------------------------------

    def take_noise(self, line: str) -> None:
        """Take a line that is no message of the protocol."""
        if (wait := wait_in(line)) is not None:
            self._hear_of(wait)
            return
        self._job.alive()
        noise = self.tools.dialect.noise
        if noise is not None and noise.match(line):
            return
        self.noise.add(line)
        for event in say("stderr", line):
            self._emit(event)

    async def long_wait(self, answer: asyncio.Task[Any]) -> Wait | None:
        """Wait for the answer; if the agent itself would wait for long, say for what."""
        long = asyncio.create_task(self._waits_long.wait())
        try:
            await asyncio.wait((answer, long), return_when=asyncio.FIRST_COMPLETED)
        finally:
            long.cancel()
        return None if answer.done() else self._long

    def begin(self, session: str, agent: str | None) -> None:
        """Tell that the session has begun; what comes from now on is of this attempt."""
        self.is_open = True
        self.usage["session_id"] = session
        self._emit(AgentEvent(EventKind.PROGRESS, {"session_id": session, "agent": agent}))

    def go_on(self, session: Session) -> None:
        """Take over what a resumed session has used before."""
        self._before, self._totals = session.used, dict(session.used)

    def keep_in(self, place: Place, session: Callable[[], str]) -> None:
        """Keep the session for later attempts, from its beginning on."""
        self._emit = keeping(self._job, place, lambda: (session(), dict(self._totals)))

    def answered(self, usage: Any) -> None:
        """Take what the answer to the prompt says of tokens."""
        self.flush()
        if usage is None or not self.tools.dialect.tells_tokens:
            return
        read, written = usage.cached_read_tokens or 0, usage.cached_write_tokens or 0
        told = {
            "input_tokens": usage.input_tokens + read + written,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": read,
            "cache_write_tokens": written,
        }
        self._spent({k: v for k, v in told.items() if v or not k.startswith("cache")})

    def flush(self) -> None:
        """Tell the rest of the words."""
        if self._line:
            line, self._line = self._line, ""
            self._say(line)

    # -- the rest -------------------------------------------------------------------------------

    def _hear_of(self, wait: Wait) -> None:
        """Tell it once: as there may be no end to it, it is no sign of life."""
        if not self._waits:
            self._emit(wait.event())
        self._waits = True
        if wait.is_long:
            self._long = wait
            self._waits_long.set()

    def _hear(self, text: str) -> None:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._say(line)

    def _say(self, line: str) -> None:
        self.words.add(line)
        for event in say("stdout", line):
            self._emit(event)

    async def _may(self, tool: Any, name: str) -> bool:
        if any(re.fullmatch(rf"mcp__{re.escape(s)}__\w+", name) for s in self.servers):
            return True  # what it was given a server for
        try:
            if self._permissions == "ask":
                return await self._people_may(tool, name)
            if callable(self._permissions):
                said = self._permissions(tool.title or name, tool.kind or "other", tool.raw_input)
                return bool(await said if inspect.isawaitable(said) else said)
        except Exception as exc:
            self.take_noise(f"Nobody could say whether {name} is allowed: {exc!r}")
            return False
        return self._permissions == "allow"

    async def _people_may(self, tool: Any, name: str) -> bool:
        if self._job.ask is None:
            self.take_noise(f"Nobody can be asked whether {name} is allowed.")
            return False
        what = name if tool.title in (None, name) else f"{name}: {tool.title}"
        return await people_may(self._job.ask, what, tool.raw_input)

    def _on_usage(self, update: Any) -> None:
        meta: dict[str, Any] = update.field_meta or {}
        info = meta.get("_claude/rateLimit")
        if isinstance(info, dict):
            self.limit = cast("dict[str, Any]", info)
            if text := limits.warning(self.limit):
                near = limits.near(self.limit)
                data = {"text": text} | ({} if near is None else {"limit": near})
                self._emit(AgentEvent(EventKind.PROGRESS, data))
        cost = update.cost
        if cost is None or cost.currency.upper() != "USD" or not self.tools.dialect.tells_cost:
            return
        self._totals["cost_usd"] = cost.amount  # that of the session, also after a resume
        before = float(self._before.get("cost_usd") or 0)
        self._spent({"cost_usd": max(0.0, cost.amount - before)})

    def _spent(self, amounts: dict[str, Any]) -> None:
        self.usage |= amounts
        self._emit(AgentEvent(EventKind.COST, dict(self.usage)))
