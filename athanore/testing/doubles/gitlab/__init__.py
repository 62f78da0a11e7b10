"""A GitLab for tests: `with gitlab_double() as gitlab: ... gitlab.board()`."""

from athanore.testing.doubles.gitlab.server import GitLabDouble, gitlab_double

__all__ = ["GitLabDouble", "gitlab_double"]
