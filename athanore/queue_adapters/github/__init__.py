"""GitHub issues as a task board: `backend.GitHubBoard`, `project_backend.GitHubProjectBoard`."""

from athanore.queue_adapters.github.backend import GitHubBoard
from athanore.queue_adapters.github.projects.backend import GitHubProjectBoard

__all__ = ["GitHubBoard", "GitHubProjectBoard"]
