"""GitLab issues as a task board; see `backend.GitLabBoard`."""

from athanore.queue_adapters.gitlab.backend import GitLabBoard

__all__ = ["GitLabBoard"]
