"""Athanore watches the queues of a task board and has AI agents do the work, on Prefect."""

from athanore.agent_adapters.base import AgentAdapter, AgentJob
from athanore.agent_adapters.cli import CliAgentAdapter
from athanore.agent_adapters.mcp_servers import McpServer
from athanore.agent_adapters.python import PythonAgent
from athanore.agent_adapters.scripted import ScriptedAgent
from athanore.agent_adapters.subprocess import SubprocessAgentAdapter
from athanore.errors import AthanoreError, ConfigurationError
from athanore.launch.app import AgentDispatcher
from athanore.models import AgentEvent, AgentOutcome, AgentResult, Comment, EventKind, Queue, Task
from athanore.options import NO_DEAD_LETTER
from athanore.queue_adapters.base import QueueAdapter, QueueBackend
from athanore.queue_adapters.github.backend import GitHubBoard
from athanore.queue_adapters.github.project_backend import GitHubProjectBoard
from athanore.queue_adapters.gitlab.backend import GitLabBoard
from athanore.queue_adapters.jira.backend import JiraBoard
from athanore.queue_adapters.json_file.adapter import JsonFileAdapter
from athanore.queue_adapters.linear.backend import LinearBoard
from athanore.queue_adapters.memory import MemoryAdapter
from athanore.routes import Route
from athanore.version import __version__
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
    "GitHubBoard",
    "GitHubProjectBoard",
    "GitLabBoard",
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
    "Workspace",
    "__version__",
]
