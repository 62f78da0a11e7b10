"""`/mcp`: the task API for MCP clients, with the rules of every other endpoint."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager, nullcontext
from importlib.util import find_spec
from typing import Protocol

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from athanore.api.problems import Problem, problem_of
from athanore.api.security.auth import Role, check_content_type, known_caller
from athanore.api.service import Service
from athanore.api.tools import TOOLS, Call
from athanore.errors import AthanoreError
from athanore.mcp.tool import Tool
from athanore.version import __version__

PATH = "/mcp"

_INSTRUCTIONS = (
    "The task board that you work for. An answer is JSON; an error says in `detail` what was wrong."
)


class McpApplication(Protocol):
    """What is served at the path."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Serve for the time of the block."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def make_mcp(service: Service) -> McpApplication:
    """Make what answers at the path; without the extra it says what to install."""
    if find_spec("mcp") is None:
        return _NotInstalled()
    from athanore.mcp.server import McpEndpoint

    async def admit(request: Request, tool: Tool[Call] | None) -> Call:
        check_content_type(request)
        write = tool is not None and not tool.reads
        caller = await known_caller(request, write=write, by_mcp=True)
        if caller.role is Role.OPERATOR:
            raise Problem(
                403,
                "operators-key",
                "The operators' key opens everything and does not belong into the configuration "
                "of an MCP client, so /mcp does not take it. Make a key for the client: "
                "athanore key create --read (or --steer).",
            )
        return Call(service, caller)

    return McpEndpoint[Call](
        "athanore",
        __version__,
        _INSTRUCTIONS,
        TOOLS,
        admit=admit,
        offered=Call.is_offered,
        explain=_explain,
        clean=service.redactor.data,
    )


class _NotInstalled:
    """Says what is missing."""

    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise Problem(
            501,
            "mcp-not-installed",
            "This API cannot speak MCP: the extra `mcp` is not installed. Beside the clone of "
            'Athanore: pip install "./athanore[mcp]"',
        )


def _explain(error: Exception) -> tuple[int, str] | None:
    if isinstance(error, AthanoreError):
        error = problem_of(error)
    if not isinstance(error, Problem):
        return None
    return error.status, json.dumps(error.document(), ensure_ascii=False)
