"""A branch that conflicts: its folder gets what the base is now, by the agent's own git."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import AgentOutcome, AgentResult, GitWorkspace, Workspace
from athanore.errors import WorkspaceError
from athanore.runs.kept.pulls import OpenPull
from athanore.services.pull_requests.reactions import told
from tests.repositories import ALONE, commit, git
from tests.unit.test_git_workspace import Site

BRANCH = "athanore/1-fix-it"


class Conflicting(Site):
    """A task whose branch and base have changed the same place; commands are really run."""

    async def run(self, words: Sequence[str], folder: Path, timeout: timedelta) -> AgentResult:
        self.ran.append(list(words))
        env = {"PATH": "/usr/bin:/bin", **ALONE}
        done = await asyncio.to_thread(subprocess.run, words, cwd=folder, env=env)
        if done.returncode:
            return AgentResult(AgentOutcome.FAILED, f"exit code {done.returncode}")
        return AgentResult(AgentOutcome.SUCCEEDED)

    async def begun(self, provider: GitWorkspace) -> Path:
        """Publish a change of the task, and let the base change after it; returns the folder."""
        await self.used(provider, lambda folder: commit(folder, "README.md", "ours"))
        await provider.push("app", "1", allow_ci_changes=False)
        self.newest = self.repository.add("README.md", "theirs")
        return (await provider.find("app"))[0].path

    async def again(self, provider: GitWorkspace) -> Workspace:
        return await provider.open(replace(self.asked(), renew_base=True))


@pytest.fixture
def site(tmp_path: Path) -> Conflicting:
    return Conflicting(tmp_path)


@pytest.mark.parametrize("by", ["path", "url"])
async def test_the_newest_base_is_there_and_can_be_merged_and_published(
    site: Conflicting, by: str
) -> None:
    path = site.repository.path
    provider = site.provider(path if by == "path" else f"file://{path}")
    folder = await site.begun(provider)
    before = git(folder, "rev-parse", "HEAD")
    workspace = await site.again(provider)
    assert (workspace.base, workspace.newest_base) == ("main", "origin/main")
    assert git(folder, "rev-parse", "main", "origin/main").split() == [site.newest] * 2
    assert git(folder, "rev-parse", "HEAD") == before and not git(folder, "status", "--short")
    with pytest.raises(subprocess.CalledProcessError):
        git(folder, "merge", "-q", "origin/main")
    commit(folder, "README.md", "both")
    assert git(folder, "diff", "--name-only", "main...HEAD") == "README.md"
    await provider.close(workspace, AgentOutcome.SUCCEEDED)
    pushed = await provider.push("app", "1", allow_ci_changes=False)
    assert git(path, "merge-base", "main", BRANCH) == site.newest
    assert pushed.commit == git(path, "rev-parse", BRANCH)
    assert pushed.subjects == ("Write README.md", "Write README.md")
    plain = await provider.open(site.asked())
    assert plain.newest_base == "" and plain.base == "main"
    await provider.close(plain, None)


async def test_only_the_agents_git_runs_there_and_without_credentials(site: Conflicting) -> None:
    provider = site.provider(f"file://{site.repository.path}")
    folder = await site.begun(provider)
    trap = site.folder / "trap"
    git(folder, "config", "core.fsmonitor", f"touch {trap}; false")
    workspace = await site.again(provider)
    assert all(words[:2] == ["git", "fetch"] for words in site.ran)
    assert not [w for words in site.ran for w in words if str(site.repository.path) in w]
    await provider.close(workspace, None)


async def test_a_base_that_the_agent_has_checked_out_or_changed_stays(site: Conflicting) -> None:
    provider = site.provider()
    folder = await site.begun(provider)
    git(folder, "switch", "-q", "main")
    own = commit(folder, "own.txt", "own")
    workspace = await site.again(provider)
    assert git(folder, "rev-parse", "main", "origin/main").split() == [own, site.newest]
    assert "The branch 'main' of the folder stays at where it is." in site.said
    await provider.close(workspace, None)


async def test_a_folder_whose_git_is_broken_is_given_all_the_same(site: Conflicting) -> None:
    provider = site.provider()
    folder = await site.begun(provider)
    (folder / ".git" / "config").write_text("[broken")
    workspace = await site.again(provider)
    assert workspace.newest_base == ""
    assert "git fetch of" in site.said[-1] and "failed in the folder" in site.said[-1]
    with pytest.raises(WorkspaceError, match="git fetch failed"):
        await provider.close(workspace, None)


async def test_a_repository_that_is_away_is_the_workspaces_fault(site: Conflicting) -> None:
    provider = site.provider()
    await site.begun(provider)
    shutil.rmtree(site.repository.path)
    with pytest.raises(WorkspaceError):
        await site.again(provider)


async def test_a_tag_stays_what_it_is(site: Conflicting) -> None:
    git(site.repository.work, "tag", "v1")
    site.repository.push("v1")
    provider = site.provider(base="v1")
    await site.used(provider)
    workspace = await site.again(provider)
    assert workspace.newest_base == "" and site.ran == []
    await provider.close(workspace, None)


def test_the_agent_is_told_how_it_is_resolved() -> None:
    pull = OpenPull("app", "Todo", "1", 7, "https://f.test/7", "c0ffee", feedback="It conflicts.")
    here = Workspace(Path("/w/1"), BRANCH, "main", "origin/main")
    assert "merge" not in told(pull, here)
    pull = replace(pull, conflicts=True)
    assert "is in your folder as origin/main, fetched just now: git merge origin/main" in told(
        pull, here
    )
    assert "Merge the newest main into it" in told(pull, replace(here, newest_base=""))
    assert "Do not rebase" in told(pull, here)
