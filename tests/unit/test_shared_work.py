"""`share=`: two folders as two hosts, which go on from each other's work on one task."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from athanore import AgentOutcome, AgentResult, GitWorkspace, Task, Workspace
from athanore.errors import ConfigurationError, WorkspaceError
from athanore.workspaces.base import SharesWork, WorkspaceRequest
from tests.repositories import Repository, commit, git

BRANCH = "athanore/1-fix-it"
REFS = "refs/athanore/app/1"


@dataclass
class Host:
    """A host: a root of its own."""

    root: Path
    provider: GitWorkspace
    said: list[str] = field(default_factory=list[str])
    told: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def begin(self, task_id: str = "1") -> Workspace:
        async def run(*_: object) -> AgentResult:
            return AgentResult(AgentOutcome.SUCCEEDED)

        task = Task(task_id, "Fix it", "Todo")
        return await self.provider.open(WorkspaceRequest("app", task, run, self.said.append))

    async def work(self, name: str) -> Workspace:
        """Have an attempt commit a file, whole."""
        workspace = await self.begin()
        commit(workspace.path, name, "new")
        await self.provider.close(workspace, AgentOutcome.SUCCEEDED)
        return workspace

    def killed(self, workspace: Workspace) -> None:
        """The worker is killed: the folder is nobody's, and nothing was shared."""
        place, _ = self.provider._opened.pop(workspace.path)  # pyright: ignore[reportPrivateUsage]
        place.lock.release()

    async def returns(self) -> None:
        async def tell(task_id: str, text: str) -> None:
            self.told.append((task_id, text))

        await self.provider.reconcile("app", tell)


@dataclass
class Site:
    """A repository, a place to share, and hosts."""

    folder: Path
    repository: Repository
    share: Path

    def host(self, name: str, *, share: bool = True) -> Host:
        root = self.folder / name
        place = self.share if share else None
        return Host(root, GitWorkspace(self.repository.path, root=root, share=place))

    def shared(self) -> str:
        """The newest commit of the branch, as it was shared."""
        return git(self.share, "rev-parse", f"{REFS}/shared^1")

    def beside(self) -> list[str]:
        said = git(self.share, "for-each-ref", "--format=%(refname)", f"{REFS}/beside")
        return said.splitlines()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    share = tmp_path / "share.git"
    share.mkdir()
    git(share, "init", "-q", "--bare")
    return Site(tmp_path, Repository(tmp_path / "toy.git"), share)


async def test_another_host_goes_on_from_what_was_shared(site: Site) -> None:
    one, two = site.host("one"), site.host("two")
    assert isinstance(one.provider, SharesWork)
    first = await one.begin()
    commit(first.path, "a.txt", "a")
    (first.path / "draft.txt").write_text("draft")
    (first.path / "README.md").unlink()
    (first.path / ".env").write_text("KEY=1")
    await one.provider.close(first, AgentOutcome.FAILED)
    second = await two.begin()
    assert (second.branch, second.base, second.notes) == (BRANCH, "main", ())
    assert git(second.path, "log", "--format=%s", "main..") == "Write a.txt"
    assert (second.path / "draft.txt").read_text() == "draft"
    assert not (second.path / ".env").exists()
    status = git(second.path, "status", "--porcelain").splitlines()
    assert sorted(status) == [" D README.md", "?? draft.txt"]
    git(second.path, "checkout", "-q", "README.md")
    (second.path / "draft.txt").unlink()
    made = commit(second.path, "b.txt", "b")
    await two.provider.close(second, AgentOutcome.SUCCEEDED)
    assert site.shared() == made
    third = await one.begin()
    assert third.path == first.path and third.notes == ()
    subjects = git(third.path, "log", "--format=%s", "main..").splitlines()
    assert subjects == ["Write b.txt", "Write a.txt"]
    aside = first.path.with_name(f"{first.path.name}.aside-1")
    assert (aside / ".env").read_text() == "KEY=1", "what is only here stays"
    await one.provider.close(third, None)
    assert site.repository.branches() == ["main"] and site.beside() == []


async def test_on_one_host_the_folder_stays_as_it_is(site: Site) -> None:
    one = site.host("one")
    await one.work("a.txt")
    workspace = await one.begin()
    (workspace.path / "ignored.log").write_text("built")
    await one.provider.close(workspace, None)
    again = await site.host("one").begin()
    assert (again.path / "ignored.log").read_text() == "built"
    assert again.notes == ()


async def test_what_a_lost_host_had_not_shared_is_said_and_kept_when_it_is_back(
    site: Site,
) -> None:
    one, two = site.host("one"), site.host("two")
    await one.work("a.txt")
    lost = await one.begin()
    mine = commit(lost.path, "lost.txt", "lost")
    one.killed(lost)
    second = await two.begin()
    (note,) = second.notes
    assert note.startswith("An attempt on the host ") and "has not shared what it did" in note
    assert not (second.path / "lost.txt").exists()
    theirs = commit(second.path, "b.txt", "b")
    await two.provider.close(second, AgentOutcome.SUCCEEDED)
    back = site.host("one")
    await back.returns()
    ((task_id, text),) = back.told
    assert task_id == "1" and "Both are kept" in text
    (ref,) = site.beside()
    assert ref in text
    assert mine in git(site.share, "rev-list", ref).splitlines()
    assert site.shared() == theirs
    assert (lost.path / "lost.txt").exists()
    await back.returns()
    assert len(back.told) == 1, "it is told once"
    third = await back.begin()
    assert git(third.path, "rev-parse", "HEAD") == theirs
    await back.provider.close(third, None)
    assert mine in git(next(back.root.glob("*/mirror.git")), "rev-list", "--all").splitlines()


async def test_what_only_it_knows_is_shared_when_a_host_is_back_and_nobody_went_on(
    site: Site,
) -> None:
    one = site.host("one")
    lost = await one.begin()
    mine = commit(lost.path, "lost.txt", "lost")
    one.killed(lost)
    (found,) = await site.host("one").provider.find("app")
    assert found.kept == "not shared with other hosts yet"
    back = site.host("one")
    await back.returns()
    assert (site.shared(), back.told, site.beside()) == (mine, [], [])
    second = await site.host("two").begin()
    assert (second.path / "lost.txt").exists() and second.notes == ()


async def test_a_host_that_is_overtaken_while_it_works_loses_nothing(site: Site) -> None:
    one, two = site.host("one"), site.host("two")
    slow = await one.begin()
    mine = commit(slow.path, "slow.txt", "slow")
    fast = await two.work("fast.txt")
    await one.provider.close(slow, AgentOutcome.SUCCEEDED)
    (ref,) = site.beside()
    assert git(site.share, "rev-parse", ref) == mine
    assert site.shared() == git(fast.path, "rev-parse", "HEAD")
    await one.returns()
    assert len(one.told) == 1
    again = await one.begin()
    assert (again.path / "fast.txt").exists() and not (again.path / "slow.txt").exists()


async def test_a_place_that_does_not_answer_holds_the_attempt_and_loses_nothing(
    site: Site,
) -> None:
    one = site.host("one")
    workspace = await one.begin()
    made = commit(workspace.path, "a.txt", "a")
    away = site.share.rename(site.folder / "away")
    with pytest.raises(WorkspaceError, match="share="):
        await one.provider.close(workspace, AgentOutcome.SUCCEEDED)
    with pytest.raises(WorkspaceError, match="share="):
        await one.begin()
    away.rename(site.share)
    await one.returns()
    assert site.shared() == made
    with pytest.raises(ConfigurationError, match=r"share='ext::sh' must be a path or a URL"):
        GitWorkspace("repo", share="ext::sh")


async def test_without_share_another_host_begins_anew(site: Site) -> None:
    await site.host("one", share=False).work("a.txt")
    second = await site.host("two", share=False).begin()
    assert git(second.path, "rev-parse", "HEAD") == site.repository.first
    assert not git(site.share, "for-each-ref")


async def test_what_was_shared_is_there_when_a_host_is_gone_for_good(site: Site) -> None:
    one = site.host("one")
    await one.work("a.txt")
    shutil.rmtree(one.root)
    two = site.host("two")
    workspace = await two.begin()
    assert (workspace.path / "a.txt").exists()
    made = commit(workspace.path, "b.txt", "b")
    await two.provider.close(workspace, AgentOutcome.SUCCEEDED)
    pushed = await two.provider.push("app", "1", allow_ci_changes=False)
    assert git(site.repository.path, "rev-parse", BRANCH) == pushed.commit == made
    assert pushed.subjects == ("Write a.txt", "Write b.txt")


async def test_a_folder_that_is_broken_keeps_no_other_task_from_being_shared(site: Site) -> None:
    one = site.host("one")
    broken = await one.begin("1")
    one.killed(broken)
    whole = await one.begin("2")
    made = commit(whole.path, "a.txt", "a")
    one.killed(whole)
    shutil.rmtree(broken.path / ".git" / "objects")
    with pytest.raises(WorkspaceError, match=r"^Not shared: task 1: .*objects is not there"):
        await one.returns()
    assert git(site.share, "rev-parse", "refs/athanore/app/2/shared^1") == made


async def test_a_folder_that_its_agent_broke_is_gone_on_with_and_not_a_fault_of_the_host(
    site: Site,
) -> None:
    one = site.host("one")
    first = await one.begin()
    made = commit(first.path, "a.txt", "a")
    blob = git(first.path, "rev-parse", f"{made}:a.txt")
    (file := first.path / ".git" / "objects" / blob[:2] / blob[2:]).chmod(0o600)
    file.write_bytes(b"nonsense")
    with pytest.raises(WorkspaceError):
        await one.provider.close(first, AgentOutcome.FAILED)
    assert (await one.begin()).path == first.path


async def test_what_is_in_the_way_of_a_host_for_a_while_is_no_work_that_was_not_shared(
    site: Site,
) -> None:
    one, two = site.host("one"), site.host("two")
    await one.work("a.txt")
    stopped = await one.begin()
    git(stopped.path, "checkout", "-q", "--detach", "main")
    one.killed(stopped)
    await two.work("b.txt")
    (head,) = one.root.glob(f"*/mirror.git/{REFS}/HEAD")
    (lock := head.with_name("HEAD.lock")).touch()
    with pytest.raises(WorkspaceError, match="git fetch failed"):
        await one.begin()
    lock.unlink()
    workspace = await one.begin()
    assert (workspace.path / "b.txt").exists()
    assert site.beside() == [] and not list(one.root.glob("*/tasks/*/*/*.aside-*"))
