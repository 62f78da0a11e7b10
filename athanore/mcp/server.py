"""MCP over HTTP: each request is whole in itself, and the answer is JSON.

There are no sessions: a client is known by its token alone, and an API that is started anew, or
stands beside another one, answers as well. Needs the extra `mcp`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, cast

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp.types import Tool as ToolDefinition
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from athanore.mcp.tool import Tool

logger = logging.getLogger(__name__)

_ADMITTED = "athanore.mcp"
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
_FOR_THE_MODEL = frozenset({403, 404, 409, 422, 503})
"""Refusals of a call that are the tool's answer; with any other the client itself is refused."""


@dataclass(frozen=True, slots=True)
class Admission[C]:
    """Who calls, and for which tool; `refused` is what the tool answers to whom it is refused."""

    tool: Tool[C] | None
    caller: C | None
    refused: str | None = None


class McpEndpoint[C]:
    """An ASGI application that serves tools.

    Args:
        name: of the server, as clients show it.
        instructions: what a model reads before it uses a tool.
        admit: says who sends a request, for which tool if it is a call of one; or raises.
        offered: says whether a caller may see a tool.
        explain: the HTTP status and the text of an error; None for one that nobody expects.
        clean: takes secrets out of an answer.
    """

    def __init__(
        self,
        name: str,
        version: str,
        instructions: str,
        tools: Sequence[Tool[C]],
        *,
        admit: Callable[[Request, Tool[C] | None], Awaitable[C]],
        offered: Callable[[C, Tool[C]], bool],
        explain: Callable[[Exception], tuple[int, str] | None],
        clean: Callable[[bytes], bytes],
    ) -> None:
        self._tools: Mapping[str, Tool[C]] = {tool.name: tool for tool in tools}
        self._schemas = {tool.name: tool.schema() for tool in tools}
        self._admit = admit
        self._offered = offered
        self._explain = explain
        self._clean = clean
        server = Server[Any](
            name,
            version=version,
            instructions=instructions,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        # Host and Origin are looked at by the API's own guard.
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Serve for the time of the block; once only."""
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.method != "POST":  # a stream would have nothing to tell
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        body = await request.body()
        tool = self._called(body)
        try:
            admission = Admission(tool, await self._admit(request, tool))
        except Exception as error:
            status, text = self._explain(error) or (500, "")
            if tool is None or status not in _FOR_THE_MODEL:
                raise
            admission = Admission[C](tool, None, text)
        await self._manager.handle_request(
            {**scope, _ADMITTED: admission}, _replayed(body, receive), send
        )

    def _called(self, body: bytes) -> Tool[C] | None:
        """The tool that a request calls; None for any other request, and for what is none."""
        try:
            message: Any = json.loads(body)
            if message["method"] == "tools/call":
                return self._tools.get(message["params"]["name"])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        return None

    async def _list_tools(
        self, context: ServerRequestContext[Any, Request], _: PaginatedRequestParams | None
    ) -> ListToolsResult:
        caller = self._admission(context).caller
        assert caller is not None
        offered = [tool for tool in self._tools.values() if self._offered(caller, tool)]
        return ListToolsResult(tools=[self._definition(tool) for tool in offered])

    async def _call_tool(
        self, context: ServerRequestContext[Any, Request], params: CallToolRequestParams
    ) -> CallToolResult:
        admission, tool = self._admission(context), self._tools.get(params.name)
        if admission.refused is not None:
            return _failed(admission.refused)
        caller = admission.caller
        assert caller is not None
        if tool is None or tool is not admission.tool or not self._offered(caller, tool):
            names = [t.name for t in self._tools.values() if self._offered(caller, t)]
            return _failed(f"There is no tool {params.name!r} for you; there are {names}.")
        try:
            arguments = tool.arguments.model_validate(params.arguments or {})
        except ValidationError as error:
            return _failed(_wrong(error))
        try:
            answer = await tool.work(caller, arguments)
        except Exception as error:
            explained = self._explain(error)
            if explained is None:
                logger.exception(
                    "The tool %s failed.", tool.name, extra={"action": "mcp_tool_failed"}
                )
                return _failed("Something unexpected went wrong; the log of the task API has it.")
            return _failed(self._clean(explained[1].encode()).decode())
        text = self._clean(_ANYTHING.dump_json(answer, exclude_none=True)).decode()
        return CallToolResult(content=[TextContent(type="text", text=text)])

    def _admission(self, context: ServerRequestContext[Any, Request]) -> Admission[C]:
        assert context.request is not None
        return cast(Admission[C], context.request.scope[_ADMITTED])

    def _definition(self, tool: Tool[C]) -> ToolDefinition:
        # A client that asks a person before some calls decides by these which ones.
        hints = ToolAnnotations(
            read_only_hint=tool.reads,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.reads or tool.idempotent,
            open_world_hint=False,
        )
        return ToolDefinition(
            name=tool.name,
            description=tool.description,
            input_schema=self._schemas[tool.name],
            annotations=hints,
        )


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _wrong(error: ValidationError) -> str:
    """Say which arguments are wrong, without their values."""
    said = [
        f"{'.'.join(str(part) for part in found['loc']) or 'arguments'}: {found['msg']}"
        for found in error.errors(include_url=False, include_input=False)
    ]
    return "Nothing was done: " + "; ".join(said) + "."


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body, which was read already, and then what comes."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return parts.pop() if parts else await receive()

    return replayed
