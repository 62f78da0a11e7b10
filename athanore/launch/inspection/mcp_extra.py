"""Whether the extra `mcp` is where it is needed: beside the agents, and beside the task API."""

from __future__ import annotations

from athanore.agent_adapters.given.mcp_servers import is_installed
from athanore.dispatcher import AgentDispatcher
from athanore.errors import ConfigurationError
from athanore.launch.inspection.findings import Finding, Level

_PATIENCE = 2.0
_NOT_IMPLEMENTED, _NOT_FOUND = 501, 404
_INSTALL = 'Beside the clone of Athanore: pip install "./athanore[mcp]"'


async def mcp_findings(dispatcher: AgentDispatcher) -> list[Finding]:
    """Compare what is installed here with what the task API says, if it answers.

    Nothing is said where no agent would use it.
    """
    if not any(_wants_tools(dispatcher, name) for name in dispatcher.routes):
        return []
    import httpx  # the start needs the rest of this module only, and is to be quick

    settings = dispatcher.settings
    url = settings.agent_api_url(settings.api_host, settings.api_port)
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False) as client:
            status = (await client.post(f"{url}/mcp", json={})).status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return []  # it does not run
    if status == _NOT_FOUND:
        return []  # something else runs there
    here, there = is_installed(), status != _NOT_IMPLEMENTED
    if here == there:
        return []
    if here:
        says = f"The extra `mcp` is installed here, and not where the task API at {url} runs: "
        says += "agents are told of tools that are not there."
        return [Finding("mcp", Level.WARN, says, _INSTALL)]
    says = f"The task API at {url} has the extra `mcp`, and it is not installed here: "
    says += "agents of this host call the API with curl."
    return [Finding("mcp", Level.WARN, says, _INSTALL)]


def without_tools(dispatcher: AgentDispatcher) -> str | None:
    """Say which agents are not given their board as tools, because the extra is missing here."""
    names = [name for name in dispatcher.routes if _wants_tools(dispatcher, name)]
    if is_installed() or not names:
        return None
    routes = ", ".join(map(repr, names))
    return (
        f"The extra `mcp` is not installed, so the agents of {routes} reach their task with curl "
        f"only, if they may. {_INSTALL}"
    )


def _wants_tools(dispatcher: AgentDispatcher, name: str) -> bool:
    """Tell whether the agent of a route is given its board by MCP where the extra is there."""
    try:
        agent = dispatcher.agent_for(dispatcher.routes[name])
    except ConfigurationError:
        return False
    return vars(agent).get("_board_access", "curl") != "curl"
