"""What `setup` has fetched by Git LFS is no work of an agent, and what an agent adds is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import AgentOutcome, AgentResult, GitWorkspace, Task
from athanore.errors import WorkspaceError
from athanore.workspaces.base import WorkspaceRequest
from tests.repositories import Repository, commit, git

CONTENT = "a large picture\n" * 1000


def pointer(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(text)}\n"


def stored(folder: Path, text: str) -> None:
    """LFS has the object of a file there."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = folder / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    path.parent.mkdir(parents=True)
    path.write_text(text)


def pulled(folder: Path) -> None:
    """What `git lfs pull` does."""
    stored(folder, CONTENT)
    (folder / "picture.bin").write_text(CONTENT)


def away(folder: Path) -> None:
    """What `git lfs pull` does without a network."""
    raise ConnectionError


class Site:
    """A repository with a file of LFS, which `setup` fetches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._repository = Repository(folder / "toy.git")
        self._repository.add("picture.bin", pointer(CONTENT))
        self._share: Path | None = None
        self.on("root")

    def on(self, host: str) -> None:
        """Go on with another root, which is another host."""
        self.provider = GitWorkspace(
            self._repository.path,
            root=self._folder / host,
            setup="git lfs pull",
            keep=timedelta(0),
            share=self._share,
        )

    def shares(self) -> None:
        """Hosts share their work from now on."""
        self._share = self._folder / "share.git"
        self._share.mkdir()
        git(self._share, "init", "-q", "--bare")

    async def attempt(
        self,
        work: Callable[[Path], object] = lambda folder: None,
        setup: Callable[[Path], object] = pulled,
    ) -> Sequence[str]:
        """What is said at the end of an attempt that does some work."""

        async def run(words: Sequence[str], folder: Path, timeout: timedelta) -> AgentResult:
            try:
                setup(folder)
            except ConnectionError:
                return AgentResult(AgentOutcome.FAILED, "no network", retryable=False)
            return AgentResult(AgentOutcome.SUCCEEDED)

        task = Task("1", "Fix it", "Todo")
        request = WorkspaceRequest("app", task, run, lambda line: None)
        workspace = await self.provider.open(request)
        work(workspace.path)
        return await self.provider.close(workspace, AgentOutcome.SUCCEEDED)

    async def kept(self) -> str:
        """Why the folder may not go."""
        (found,) = await self.provider.find("app")
        return found.kept


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_what_setup_has_fetched_keeps_no_folder(site: Site) -> None:
    assert await site.attempt() == []
    assert await site.attempt(lambda folder: commit(folder, "a.txt", "a")) == []
    assert await site.kept() == ""


async def test_a_file_that_an_agent_has_changed_is_not_committed(site: Site) -> None:
    (note,) = await site.attempt(lambda folder: (folder / "picture.bin").write_text("mine"))
    assert "Not committed" in note and "picture.bin" in note
    assert await site.kept() == "not committed: picture.bin"


async def test_what_an_agent_has_given_to_lfs_is_in_its_folder_alone(site: Site) -> None:
    def adds(folder: Path) -> None:
        stored(folder, "new")
        commit(folder, "new.bin", pointer("new"))
        (folder / "new.bin").write_text("new")

    (note,) = await site.attempt(adds)
    assert "new.bin" in note

    def takes_it_away(folder: Path) -> None:
        (folder / "new.bin").write_text(pointer("new"))
        commit(folder, "new.bin", pointer("other"))

    (note,) = await site.attempt(takes_it_away)
    assert "picture.bin" in note, "an earlier commit still names what is in the folder alone"
    assert await site.kept() == "not committed: picture.bin"


async def test_objects_without_setup_are_nobodys_fetch(site: Site, tmp_path: Path) -> None:
    (root := tmp_path / "other").mkdir()
    site.provider = GitWorkspace(tmp_path / "toy.git", root=root, keep=timedelta(0))
    (note,) = await site.attempt(pulled)
    assert "picture.bin" in note
    (note,) = await site.attempt()
    assert "picture.bin" in note


async def test_what_setup_fetches_at_its_second_try_keeps_no_folder(site: Site) -> None:
    with pytest.raises(WorkspaceError, match="setup failed"):
        await site.attempt(setup=away)
    assert await site.attempt() == []
    assert await site.attempt(lambda folder: commit(folder, "a.txt", "a")) == []
    assert await site.kept() == ""


def brings(folder: Path) -> None:
    """An agent takes over a file of LFS from elsewhere, and LFS has it nowhere."""
    commit(folder, "new.bin", pointer("new"))
    (folder / "new.bin").write_text("new")


async def test_a_file_that_lfs_does_not_have_is_in_its_folder_alone(site: Site) -> None:
    (note,) = await site.attempt(brings)
    assert "Not committed" in note and "new.bin" in note and "picture.bin" not in note
    assert await site.kept() == "not committed: new.bin"


def pulled_and_looked(folder: Path) -> None:
    """What `git lfs pull` does whose `git status` gives LFS what is in the files, too."""
    pulled(folder)
    if (folder / "new.bin").exists():
        stored(folder, (folder / "new.bin").read_text())


@pytest.mark.parametrize("setup", [pulled, pulled_and_looked])
async def test_what_an_agent_has_given_to_lfs_goes_from_host_to_host(
    site: Site, setup: Callable[[Path], object]
) -> None:
    def adds(folder: Path) -> None:
        stored(folder, "new")
        brings(folder)

    def has_it(folder: Path) -> None:
        assert (folder / "new.bin").read_text() == "new"

    site.shares()
    site.on("first")
    await site.attempt(adds, setup)
    for host in ("second", "third"):
        site.on(host)
        (note,) = await site.attempt(has_it, setup)
        assert "new.bin" in note
        assert "new.bin" in await site.kept()


async def test_a_draft_that_goes_to_another_host_has_setup_fetch_there_as_here(site: Site) -> None:
    site.shares()
    site.on("first")
    await site.attempt(lambda folder: (folder / "draft.txt").write_text("draft"))
    site.on("second")
    (note,) = await site.attempt()
    assert "draft.txt" in note and "picture.bin" not in note
    assert await site.kept() == "not committed: draft.txt"
