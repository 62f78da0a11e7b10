"""A GitHub for tests: `with github_double() as github: ... github.board()`."""

from athanore.testing.doubles.github.server import GitHubDouble, github_double

__all__ = ["GitHubDouble", "github_double"]
