"""An agent of the Agent Client Protocol that does what its first argument says.

It is made of the library's own agent side, and runs as a program of its own.
"""

# The library comes with an extra, and is not there where that is not installed.
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import acp
from acp.interfaces import Client
from acp.schema import (
    AgentCapabilities,
    AllowedOutcome,
    Cost,
    Implementation,
    InitializeResponse,
    NewSessionResponse,
    PermissionOption,
    PromptResponse,
    ResumeSessionResponse,
    SessionCapabilities,
    SessionMode,
    SessionModeState,
    SessionResumeCapabilities,
    ToolCallUpdate,
    Usage,
    UsageUpdate,
)

MODES = SessionModeState(
    current_mode_id="auto",
    available_modes=[SessionMode(id="auto", name="Auto"), SessionMode(id="default", name="Ask")],
)


class Agent:
    """Does one thing, whatever it is asked."""

    def __init__(self, act: str, name: str) -> None:
        self._act = act
        self._name = name
        self._mode = "auto"
        self._began = "session"
        self._further: list[str] = []
        self._cancelled = asyncio.Event()
        self._client: Client | None = None

    def on_connect(self, conn: Client) -> None:
        self._client = conn

    async def initialize(self, protocol_version: int, **kwargs: Any) -> InitializeResponse:
        if self._act == "breaks":
            sys.stderr.write("no such setting: colour\n")
            sys.stderr.flush()
            os._exit(3)
        sessions = SessionCapabilities(resume=SessionResumeCapabilities())
        return InitializeResponse(
            protocol_version=protocol_version,
            agent_capabilities=AgentCapabilities(session_capabilities=sessions),
            agent_info=Implementation(name=self._name, version="1"),
        )

    async def new_session(self, cwd: str, mcp_servers: Any = None, **kw: Any) -> NewSessionResponse:
        self._further = kw.get("additional_directories") or []
        return NewSessionResponse(session_id="new", modes=MODES)

    async def resume_session(self, session_id: str, **kwargs: Any) -> ResumeSessionResponse:
        if self._act == "forgets":
            raise acp.RequestError.resource_not_found(session_id)
        await self._say(f"I know {session_id}\n")
        self._began = "again session"
        return ResumeSessionResponse(modes=MODES)

    async def set_session_mode(self, session_id: str, mode_id: str, **kwargs: Any) -> None:
        self._mode = mode_id

    async def cancel(self, session_id: str, **kwargs: Any) -> None:
        self._cancelled.set()

    async def prompt(self, session_id: str, prompt: Any, **kwargs: Any) -> PromptResponse:
        await self._say(f"mode {self._mode}, {self._began} {session_id}\n")
        for folder in self._further:
            await self._say(f"may write {folder}\n")
        match self._act:
            case "fails":
                await self._say("it went wrong\n")
                raise acp.RequestError(-32603, "Internal error: it went wrong")
            case "hangs" | "ignores_term":
                await self._say("ready\n")
                if self._act == "ignores_term":
                    await asyncio.Event().wait()
                await self._cancelled.wait()
                await self._spend(0.5)
                return PromptResponse(stop_reason="cancelled")
            case "waits":
                for seconds in (2, 4, 3600):
                    told = {"message": "slow down", "next": (time.time() + seconds) * 1000}
                    sys.stderr.write(f"athanore-waits {json.dumps(told)}\n")
                sys.stderr.flush()
                await self._cancelled.wait()
                return PromptResponse(stop_reason="cancelled")
            case "asks":
                return await self._ask(session_id)
            case "limited":
                text = "You've hit your 5-hour limit"
                raise acp.RequestError(-32603, text, {"errorKind": "rate_limit"})
            case "typed":
                failure = {"category": "request", "severity": "error", "title": "It is too long"}
                meta = {"jetbrains": {"air": {"sessionFailure": failure}}}
                return PromptResponse(stop_reason="end_turn", field_meta=meta)
            case "locked":
                raise acp.RequestError.auth_required()
            case _:
                await self._say("hello from ")
                await self._say("the agent")
                await self._spend(0.25)
                usage = Usage(total_tokens=12, input_tokens=10, output_tokens=2)
                return PromptResponse(stop_reason="end_turn", usage=usage)

    async def _ask(self, session_id: str) -> PromptResponse:
        assert self._client
        start = acp.start_tool_call("1", "rm -rf build", kind="execute", raw_input={"x": 1})
        await self._client.session_update(session_id, start)
        options = [
            PermissionOption(option_id="y", name="Yes", kind="allow_once"),
            PermissionOption(option_id="n", name="No", kind="reject_once"),
        ]
        tool = ToolCallUpdate(tool_call_id="1", title="rm -rf build", kind="execute")
        answer = await self._client.request_permission(session_id, tool, options)
        chosen = answer.outcome
        allowed = isinstance(chosen, AllowedOutcome) and chosen.option_id == "y"
        status = "completed" if allowed else "failed"
        await self._client.session_update(session_id, acp.update_tool_call("1", status=status))
        return PromptResponse(stop_reason="end_turn")

    async def _say(self, text: str) -> None:
        assert self._client
        await self._client.session_update("s", acp.update_agent_message_text(text))

    async def _spend(self, dollars: float) -> None:
        assert self._client
        cost = Cost(amount=dollars, currency="USD")
        update = UsageUpdate(session_update="usage_update", used=1, size=2, cost=cost)
        await self._client.session_update("s", update)


if __name__ == "__main__":
    acting = sys.argv[1]
    if acting == "ignores_term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", stubborn], stdin=subprocess.DEVNULL)
    called = sys.argv[2] if len(sys.argv) > 2 else "fake-agent"
    asyncio.run(acp.run_agent(Agent(acting, called), use_unstable_protocol=True))  # pyright: ignore[reportArgumentType]
