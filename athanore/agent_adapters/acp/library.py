"""The library of the protocol, `agent-client-protocol`, which comes with the extra `acp`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from athanore.agent_adapters.given.mcp_servers import McpServer, Servers


def library() -> Any:
    """The library, as far as its users need it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module("acp")
    except ImportError as exc:
        raise ImportError(
            "AcpAgentAdapter needs the extra `acp`. Beside your clone of Athanore: "
            'pip install "./athanore[acp]"'
        ) from exc


def server_models(servers: Servers, env: Mapping[str, str], *, over_http: bool) -> list[Any]:
    """Servers of MCP as the protocol writes them down: with the values of the agent's variables.

    Args:
        over_http: the agent can use servers that are an address; else they are left out.
    """
    found = [(name, server) for name, server in servers.items() if over_http or not server.url]
    return [_model(name, server, env) for name, server in found]


def _model(name: str, server: McpServer, env: Mapping[str, str]) -> Any:
    schema = library().schema
    if server.url:
        token = env.get(server.token_env, "") if server.token_env else ""
        headers = [{"name": "Authorization", "value": f"Bearer {token}"}] if token else []
        told: dict[str, Any] = {"type": "http", "name": name, "url": server.url, "headers": headers}
        return schema.HttpMcpServer.model_validate(told)
    program, *arguments = server.command
    told = {
        "name": name,
        "command": program,
        "args": arguments,
        "env": [{"name": n, "value": env[n]} for n in server.env if n in env],
    }
    return schema.McpServerStdio.model_validate(told)
