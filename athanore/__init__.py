"""Athanore watches the queues of a task board and has AI agents do the work, on Prefect.

A name is imported when it is first used: a command that asks the running app needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from athanore.version import __version__

if TYPE_CHECKING:
    from athanore.agent_adapters.base import AgentAdapter, AgentJob
    from athanore.agent_adapters.cli import CliAgentAdapter
    from athanore.agent_adapters.flow import FlowAgent
    from athanore.agent_adapters.given.mcp_servers import McpServer
    from athanore.agent_adapters.python import PythonAgent
    from athanore.agent_adapters.scripted import ScriptedAgent
    from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
    from athanore.errors import AthanoreError, ConfigurationError
    from athanore.forges.github import GitHubForge
    from athanore.forges.gitlab import GitLabForge
    from athanore.launch.app import AgentDispatcher
    from athanore.models import (
        AgentEvent,
        AgentOutcome,
        AgentResult,
        Comment,
        EventKind,
        Queue,
        Task,
        TaskDraft,
    )
    from athanore.queue_adapters.base import QueueAdapter, QueueBackend
    from athanore.queue_adapters.github.access.app import GitHubApp
    from athanore.queue_adapters.github.backend import GitHubBoard
    from athanore.queue_adapters.github.projects.backend import GitHubProjectBoard
    from athanore.queue_adapters.gitlab.backend import GitLabBoard
    from athanore.queue_adapters.jira.backend import JiraBoard
    from athanore.queue_adapters.json_file.adapter import JsonFileAdapter
    from athanore.queue_adapters.linear.backend import LinearBoard
    from athanore.queue_adapters.memory import MemoryAdapter
    from athanore.routing.options import NO_DEAD_LETTER
    from athanore.routing.routes import Route
    from athanore.workspaces import DirectoryWorkspace, GitWorkspace, Workspace

__all__ = [
    "NO_DEAD_LETTER",
    "AgentAdapter",
    "AgentDispatcher",
    "AgentEvent",
    "AgentJob",
    "AgentOutcome",
    "AgentResult",
    "AthanoreError",
    "CliAgentAdapter",
    "Comment",
    "ConfigurationError",
    "DirectoryWorkspace",
    "EventKind",
    "FlowAgent",
    "GitHubApp",
    "GitHubBoard",
    "GitHubForge",
    "GitHubProjectBoard",
    "GitLabBoard",
    "GitLabForge",
    "GitWorkspace",
    "JiraBoard",
    "JsonFileAdapter",
    "LinearBoard",
    "McpServer",
    "MemoryAdapter",
    "PythonAgent",
    "Queue",
    "QueueAdapter",
    "QueueBackend",
    "Route",
    "ScriptedAgent",
    "SubprocessAgentAdapter",
    "Task",
    "TaskDraft",
    "Workspace",
    "__version__",
]

_HOMES: Final = {
    "AgentAdapter": "athanore.agent_adapters.base",
    "AgentJob": "athanore.agent_adapters.base",
    "CliAgentAdapter": "athanore.agent_adapters.cli",
    "McpServer": "athanore.agent_adapters.given.mcp_servers",
    "FlowAgent": "athanore.agent_adapters.flow",
    "PythonAgent": "athanore.agent_adapters.python",
    "ScriptedAgent": "athanore.agent_adapters.scripted",
    "SubprocessAgentAdapter": "athanore.agent_adapters.subprocess",
    "AthanoreError": "athanore.errors",
    "ConfigurationError": "athanore.errors",
    "AgentDispatcher": "athanore.launch.app",
    "AgentEvent": "athanore.models",
    "AgentOutcome": "athanore.models",
    "AgentResult": "athanore.models",
    "Comment": "athanore.models",
    "EventKind": "athanore.models",
    "Queue": "athanore.models",
    "Task": "athanore.models",
    "TaskDraft": "athanore.models",
    "NO_DEAD_LETTER": "athanore.routing.options",
    "QueueAdapter": "athanore.queue_adapters.base",
    "QueueBackend": "athanore.queue_adapters.base",
    "GitHubApp": "athanore.queue_adapters.github.access.app",
    "GitHubBoard": "athanore.queue_adapters.github.backend",
    "GitHubForge": "athanore.forges.github",
    "GitHubProjectBoard": "athanore.queue_adapters.github.projects.backend",
    "GitLabBoard": "athanore.queue_adapters.gitlab.backend",
    "JiraBoard": "athanore.queue_adapters.jira.backend",
    "JsonFileAdapter": "athanore.queue_adapters.json_file.adapter",
    "LinearBoard": "athanore.queue_adapters.linear.backend",
    "MemoryAdapter": "athanore.queue_adapters.memory",
    "Route": "athanore.routing.routes",
    "DirectoryWorkspace": "athanore.workspaces",
    "GitLabForge": "athanore.forges.gitlab",
    "GitWorkspace": "athanore.workspaces",
    "Workspace": "athanore.workspaces",
}

_IMPORTING: Final = "importlib._bootstrap"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    except KeyboardInterrupt:  # Ctrl-C in the first second of a script, which has begun nothing
        if _imported_by_script():
            raise SystemExit(130) from None
        raise
    return value


def _imported_by_script() -> bool:
    from inspect import currentframe

    frame = currentframe()
    while frame is not None and frame.f_globals.get("__name__") in (__name__, _IMPORTING):
        frame = frame.f_back
    module = frame.f_globals if frame is not None else {}
    return module.get("__name__") == "__main__" and "__file__" in module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
