"""Jira issues as a task board; see `backend.JiraBoard`."""

from athanore.queue_adapters.jira.backend import JiraBoard

__all__ = ["JiraBoard"]
