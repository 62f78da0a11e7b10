"""GitHub issues as a task board; see `backend.GitHubBoard`."""

from athanore.queue_adapters.github.backend import GitHubBoard

__all__ = ["GitHubBoard"]
