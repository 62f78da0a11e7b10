"""How the calls of an agent of the protocol are told, and which of them count as refused."""

from __future__ import annotations

from typing import Any

import pytest

from athanore.agent_adapters.acp.conversation import Conversation
from athanore.agent_adapters.acp.dialects import dialect_of
from athanore.agent_adapters.base import AgentJob
from athanore.models import AgentEvent, EventKind, Task
from athanore.routing.routes import Route
from tests.harness import prompt

acp: Any = pytest.importorskip("acp")

OPTIONS = [
    acp.schema.PermissionOption(option_id="y", name="Yes", kind="allow_once"),
    acp.schema.PermissionOption(option_id="n", name="No", kind="reject_once"),
]


class Talk:
    """The client's side of one conversation, without an agent."""

    def __init__(self, agent: str, **options: Any) -> None:
        self.events: list[AgentEvent] = []
        job = AgentJob(Task("1", "T", "Todo"), Route("Todo", prompt), "", emit=self.events.append)
        self.conversation = Conversation(job, options.get("permissions", "deny"))
        self.conversation.tools.dialect = dialect_of(agent)
        self.conversation.servers = ["athanore"]
        self.conversation.begin("s", agent)

    async def start(self, call: str, title: str, kind: str = "execute", **more: Any) -> None:
        update = acp.schema.ToolCallStart(
            session_update="tool_call", tool_call_id=call, title=title, kind=kind, **more
        )
        await self.conversation.session_update("s", update)

    async def update(self, call: str, **more: Any) -> None:
        update = acp.schema.ToolCallProgress(
            session_update="tool_call_update", tool_call_id=call, **more
        )
        await self.conversation.session_update("s", update)

    async def ask(self, call: str, title: str, **more: Any) -> str:
        tool = acp.schema.ToolCallUpdate(tool_call_id=call, title=title, **more)
        answer = await self.conversation.request_permission("s", tool, OPTIONS)
        return answer.outcome.option_id

    def told(self, kind: EventKind) -> list[dict[str, Any]]:
        return [dict(event.data) for event in self.events if event.kind is kind]

    @property
    def refused(self) -> list[str]:
        return self.conversation.tools.refused


async def test_a_call_is_told_once_with_what_it_is_for() -> None:
    talk = Talk("claude-agent-acp")
    meta = {"claudeCode": {"toolName": "Bash"}}
    await talk.start("1", "Terminal", status="pending", field_meta=meta)
    assert talk.told(EventKind.TOOL_USE) == []
    await talk.update("1", title="touch here", raw_input={"command": "touch here"})
    output = {"terminal_output": {"terminal_id": "1", "data": "a line\n"}}
    await talk.update("1", field_meta=output)
    await talk.update("1", status="completed")
    assert talk.told(EventKind.TOOL_USE) == [{"name": "Bash", "input": {"command": "touch here"}}]
    (ended,) = talk.told(EventKind.TOOL_RESULT)
    assert ended == {"name": "Bash", "is_error": False, "text": "a line\n"}


@pytest.mark.parametrize(
    ("tool", "answer"),
    [
        ("mcp__athanore__move_task", "y"),
        ("mcp__athanore__move_task; rm -rf build", "n"),
        ("mcp__mine__move_task", "n"),
        ("Bash", "n"),
    ],
)
async def test_the_tools_of_the_servers_that_it_is_given_need_no_permission(
    tool: str, answer: str
) -> None:
    talk = Talk("claude-agent-acp")
    await talk.start("1", "A tool", "other", field_meta={"claudeCode": {"toolName": tool}})
    assert await talk.ask("1", "A tool") == answer
    assert talk.refused == ([] if answer == "y" else [tool])


async def test_what_was_refused_counts_until_another_way_is_found() -> None:
    talk = Talk("codex-acp")
    await talk.start("1", "sudo make", status="in_progress", raw_input={"command": "sudo make"})
    assert await talk.ask("1", "sudo make") == "n"
    await talk.update("1", status="failed")
    await talk.start("2", "Edit", "edit", status="completed")
    assert talk.refused == ["sudo make"]
    await talk.start("3", "make", status="completed")
    assert talk.refused == []


async def test_what_the_sandbox_or_a_reviewer_of_codex_refuses_is_refused() -> None:
    talk = Talk("codex-acp")
    await talk.start("1", "touch here", status="in_progress")
    await talk.start("2", "Guardian Review", "other", status="in_progress")
    denied = acp.text_block("Action: exec touch here\nStatus: Denied")
    content = [acp.schema.ContentToolCallContent(type="content", content=denied)]
    await talk.update("2", status="failed", content=content)
    await talk.update("1", status="failed")
    assert talk.refused == ["touch here"]
    talk = Talk("codex-acp")
    await talk.start("1", "touch here", status="in_progress")
    output = {"terminal_output": {"data": "touch: here: Read-only file system"}}
    await talk.update("1", field_meta=output)
    await talk.update("1", status="failed")
    assert talk.refused == ["touch here"]
    talk = Talk("fake-agent")
    await talk.start("1", "make", status="in_progress")
    await talk.update("1", status="failed", raw_output="Read-only file system")
    assert talk.refused == []


async def test_lines_that_tell_people_nothing_are_left_out() -> None:
    talk = Talk("claude-agent-acp")
    talk.conversation.take_noise("[session/create] sessionId=1 phase=settings durationMs=47")
    talk.conversation.take_noise("no such setting")
    assert [told["text"] for told in talk.told(EventKind.OUTPUT)] == ["no such setting"]
