"""A Jira for tests: `with jira_double() as jira: ... jira.board()`."""

from athanore.testing.doubles.jira.server import JiraDouble, jira_double

__all__ = ["JiraDouble", "jira_double"]
