"""Folders with a git branch: each task has a clone of its own, made of a mirror on this host."""

from athanore.workspaces.git.workspace import GitWorkspace

__all__ = ["GitWorkspace"]
