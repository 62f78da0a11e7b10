"""How Claude Code is told of the servers of MCP that it has, and of no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from athanore.agent_adapters.given.mcp_servers import McpServer, Servers


def strict_mcp(servers: Servers) -> list[str]:
    """Options for these servers; those of the user's configuration are left out."""
    known = {name: _described(server) for name, server in servers.items()}
    return [f"--mcp-config={json.dumps({'mcpServers': known})}", "--strict-mcp-config"]


def allowed_mcp(servers: Servers) -> list[str]:
    """The rules by which the tools of these servers need no permission."""
    return [f"mcp__{name}" for name in servers]


def _described(server: McpServer) -> Mapping[str, Any]:
    if not server.url:
        program, *args = server.command
        env = {name: f"${{{name}}}" for name in server.env}
        return {"command": program, "args": args, "env": env}
    token = {"Authorization": f"Bearer ${{{server.token_env}}}"} if server.token_env else {}
    # Else its tools are behind a search, and a model has to think of it.
    return {"type": "http", "url": server.url, "headers": token, "alwaysLoad": True}
