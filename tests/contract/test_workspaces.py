"""The shipped providers of folders keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from athanore.testing.workspace_contract import ProviderMaker, WorkspaceContract
from athanore.workspaces import DirectoryWorkspace, GitWorkspace
from tests.repositories import Repository


class TestDirectoryWorkspace(WorkspaceContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> ProviderMaker:
        return lambda: DirectoryWorkspace(tmp_path / "root")


class TestGitWorkspace(WorkspaceContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> ProviderMaker:
        repository = Repository(tmp_path / "toy.git")
        return lambda: GitWorkspace(repository.path, root=tmp_path / "root")
