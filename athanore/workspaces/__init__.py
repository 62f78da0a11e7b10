"""Where agents work: a folder of its own for each task, and with git a branch."""

from athanore.workspaces.base import (
    FoundWorkspace,
    PublishesWork,
    Pushed,
    RunCommand,
    Shown,
    ShowsWork,
    Work,
    Workspace,
    WorkspaceProvider,
    WorkspaceRequest,
)
from athanore.workspaces.directory import DirectoryWorkspace
from athanore.workspaces.git import GitWorkspace

__all__ = [
    "DirectoryWorkspace",
    "FoundWorkspace",
    "GitWorkspace",
    "PublishesWork",
    "Pushed",
    "RunCommand",
    "Shown",
    "ShowsWork",
    "Work",
    "Workspace",
    "WorkspaceProvider",
    "WorkspaceRequest",
]
