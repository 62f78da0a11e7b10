"""`GitWorkspace` beyond the contract: branches, what is kept, what comes back, setup."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from athanore import AgentOutcome, AgentResult, GitWorkspace, Task, Workspace
from athanore.errors import ConfigurationError, WorkspaceError
from athanore.workspaces.base import WorkspaceRequest
from athanore.workspaces.git.address import Address, Login
from athanore.workspaces.git.branches import branch_name
from athanore.workspaces.preparation import Preparation
from tests.repositories import Repository, commit, git

SUCCEEDED = AgentResult(AgentOutcome.SUCCEEDED)


class Site:
    """A repository, a provider of folders, and what is told to the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository(folder / "toy.git")
        self.said: list[str] = []
        self.ran: list[list[str]] = []
        self.results: list[AgentResult] = []

    def provider(self, repo: str | Path = "", **options: Any) -> GitWorkspace:
        return GitWorkspace(repo or self.repository.path, root=self.folder / "root", **options)

    async def run(self, words: Sequence[str], folder: Path, timeout: timedelta) -> AgentResult:
        self.ran.append(list(words))
        return self.results.pop(0) if self.results else SUCCEEDED

    async def open(
        self, provider: GitWorkspace, task_id: str = "1", name: str = "Fix it"
    ) -> Workspace:
        return await provider.open(self.asked(task_id, name))

    def asked(self, task_id: str = "1", name: str = "Fix it") -> WorkspaceRequest:
        return WorkspaceRequest("app", self.asked_for(task_id, name), self.run, self.said.append)

    @staticmethod
    def asked_for(task_id: str, name: str = "Fix it") -> Task:
        return Task(task_id, name, "Todo")

    async def used(
        self, provider: GitWorkspace, work: Callable[[Path], object] = lambda folder: None
    ) -> Sequence[str]:
        """Have an attempt do something in the folder of task 1; returns the notes of its end."""
        workspace = await self.open(provider)
        work(workspace.path)
        return await provider.close(workspace, AgentOutcome.SUCCEEDED)

    @property
    def mirror(self) -> Path:
        (found,) = self.folder.glob("root/*/mirror.git")
        return found

    def files(self, ref: str) -> list[str]:
        """The files of a commit of the mirror."""
        return git(self.mirror, "ls-tree", "-r", "--name-only", ref).splitlines()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_the_branch_of_a_task_begins_at_the_base(site: Site) -> None:
    provider = site.provider()
    workspace = await site.open(provider, "42", "Größe: fix the crash!")
    path = workspace.path
    assert workspace.branch == "athanore/42-groe-fix-the-crash"
    assert workspace.base == "main"
    assert git(path, "symbolic-ref", "--short", "HEAD") == workspace.branch
    assert git(path, "rev-parse", "HEAD", "main", "origin/main").split() == (
        [site.repository.first] * 3
    )
    assert git(path, "status", "--porcelain") == ""
    assert (path / "README.md").read_text() == "hello"
    assert not list((path / ".git").glob("hooks/*"))
    await provider.close(workspace, None)
    assert site.repository.branches() == ["main"]


async def test_a_clone_of_a_path_has_no_way_to_push_there(site: Site) -> None:
    provider = site.provider()
    workspace = await site.open(provider)
    assert git(workspace.path, "remote") == ""
    await provider.close(workspace, None)


async def test_a_clone_of_a_url_knows_it_without_the_mirror(site: Site) -> None:
    url = f"file://{site.repository.path}"
    provider = site.provider(url)
    workspace = await site.open(provider)
    assert git(workspace.path, "remote", "get-url", "origin") == url
    assert "mirror.git" not in (workspace.path / ".git" / "config").read_text()
    await provider.close(workspace, None)


async def test_a_new_task_begins_at_what_the_base_is_now(site: Site) -> None:
    await site.used(site.provider())
    second = site.repository.add("later.txt", "later")
    provider = site.provider()
    workspace = await site.open(provider, "2")
    assert git(workspace.path, "rev-parse", "HEAD") == second
    await provider.close(workspace, None)
    first = await site.open(provider, "1")
    assert not (first.path / "later.txt").exists()
    await provider.close(first, None)


@pytest.mark.parametrize("base", ["v1", "other", "sha"])
async def test_the_base_may_be_a_tag_a_branch_or_a_commit(site: Site, base: str) -> None:
    first = site.repository.first
    git(site.repository.work, "tag", "v1", first)
    site.repository.push("v1", f"{first}:refs/heads/other")
    site.repository.add("later.txt", "later")
    provider = site.provider(base=first if base == "sha" else base)
    workspace = await site.open(provider)
    assert git(workspace.path, "rev-parse", "HEAD") == first
    assert git(workspace.path, "symbolic-ref", "--short", "HEAD") == workspace.branch
    await provider.close(workspace, None)


async def test_what_is_not_committed_is_kept_beside_branch_and_index(site: Site) -> None:
    provider = site.provider()

    def work(folder: Path) -> None:
        commit(folder, "done.txt", "done")
        (folder / "staged.txt").write_text("staged")
        git(folder, "add", "staged.txt")
        (folder / "README.md").unlink()
        (folder / "new").mkdir()
        (folder / "new" / 'odd "näme".txt').write_text("new")
        (folder / "ignored.log").write_text("ignored")
        (folder / ".env").write_text("KEY=1")
        (folder / "notes.txt").write_text("-----BEGIN RSA PRIVATE KEY-----")
        (folder / "large.bin").write_bytes(b"x" * (10 * 1024 * 1024 + 1))
        (folder / "link").symlink_to("/etc/passwd")

    workspace = await site.open(provider)
    work(workspace.path)
    index = (workspace.path / ".git" / "index").read_bytes()
    status = git(workspace.path, "--no-optional-locks", "status", "--porcelain")
    head = git(workspace.path, "rev-parse", "HEAD")
    kept, left_out = await provider.close(workspace, AgentOutcome.FAILED)
    assert (workspace.path / ".git" / "index").read_bytes() == index
    assert git(workspace.path, "rev-parse", workspace.branch) == head
    assert git(workspace.path, "--no-optional-locks", "status", "--porcelain") == status
    ref = "refs/athanore/app/1/1"
    assert git(site.mirror, "rev-parse", f"{ref}^") == head
    assert site.files(ref) == [
        ".gitignore", "done.txt", "link", '"new/odd \\"n\\303\\244me\\".txt"', "staged.txt",
    ]  # fmt: skip
    assert f"Kept as {ref}." in kept
    assert left_out == (
        "Not kept: .env (looks like a secret), large.bin (larger than 10 MB), "
        "notes.txt (looks like a secret)."
    )
    assert "  large.bin (larger than 10 MB)" in git(site.mirror, "log", "-1", "--format=%b", ref)


async def test_a_clean_folder_is_kept_as_its_commit(site: Site) -> None:
    made: list[str] = []
    notes = await site.used(site.provider(), lambda f: made.append(commit(f, "a.txt", "a")))
    assert notes == []
    assert git(site.mirror, "rev-parse", "refs/athanore/app/1/1") == made[0]


@pytest.mark.parametrize("change", ["a file for a folder", "a folder for a file"])
async def test_a_file_and_a_folder_may_change_places(site: Site, change: str) -> None:
    provider = site.provider()
    await site.used(provider, lambda f: (commit(f, "a", "file"), commit(f, "b/c", "in a folder")))

    def work(folder: Path) -> None:
        if change == "a file for a folder":
            (folder / "b" / "c").unlink()
            (folder / "b").rmdir()
            (folder / "b").write_text("file")
        else:
            (folder / "a").unlink()
            (folder / "a").mkdir()
            (folder / "a" / "c").write_text("in a folder")

    await site.used(provider, work)
    expected = ["a", "b"] if change == "a file for a folder" else ["a/c", "b/c"]
    assert site.files("refs/athanore/app/1/2")[2:] == expected


async def test_an_attempt_that_nobody_closed_is_made_up_for(site: Site) -> None:
    provider = site.provider()
    workspace = await site.open(provider)
    (workspace.path / "half.txt").write_text("half")
    (workspace.path / ".git" / "index.lock").touch()
    del provider
    gc.collect()  # the lock goes with the process, or here with the object
    provider = site.provider()
    (found,) = await provider.find("app")
    assert found.is_abandoned
    again = await site.open(provider)
    assert (again.path / "half.txt").read_text() == "half"
    assert "half.txt" in site.files("refs/athanore/app/1/1")
    commit(again.path, "whole.txt", "whole")  # nothing is locked any more
    await provider.close(again, None)


async def test_a_branch_that_was_rewritten_loses_nothing(site: Site) -> None:
    provider, made = site.provider(), list[str]()
    await site.used(provider, lambda f: made.append(commit(f, "a.txt", "a")))
    await site.used(provider, lambda f: git(f, "reset", "-q", "--hard", "main"))
    assert git(site.mirror, "rev-parse", "refs/athanore/app/1/1") == made[0]
    assert git(site.mirror, "rev-parse", "refs/athanore/app/1/2") == site.repository.first


async def test_other_branches_a_detached_head_and_a_stash_are_taken_too(site: Site) -> None:
    made: list[str] = []

    def work(folder: Path) -> None:
        git(folder, "switch", "-q", "-c", "side")
        made.append(commit(folder, "side.txt", "side"))
        (folder / "side.txt").write_text("stashed")
        git(folder, "stash", "-q")
        made.append(git(folder, "rev-parse", "stash"))
        git(folder, "switch", "-q", "--detach")
        made.append(commit(folder, "loose.txt", "loose"))

    await site.used(site.provider(), work)
    refs = ("folder/heads/side", "folder/stash", "HEAD")
    found = [git(site.mirror, "rev-parse", f"refs/athanore/app/1/{ref}") for ref in refs]
    assert found == made


async def test_a_folder_that_was_removed_comes_back_with_its_branch(site: Site) -> None:
    provider, made = site.provider(keep=timedelta(0)), list[str]()
    await site.used(provider, lambda f: made.append(commit(f, "a.txt", "a")))
    (found,) = await provider.find("app")
    assert found.kept == ""
    await provider.remove(site.asked())
    assert not found.path.exists()
    workspace = await site.open(provider, name="Renamed")
    assert workspace.branch == "athanore/1-fix-it"
    assert git(workspace.path, "rev-parse", "HEAD") == made[0]
    await provider.close(workspace, None)
    assert git(site.mirror, "rev-parse", "refs/athanore/app/1/2") == made[0]


async def test_a_folder_is_kept_for_a_while_and_while_work_is_not_committed(site: Site) -> None:
    await site.used(site.provider())
    (found,) = await site.provider(keep=timedelta(days=7)).find("app")
    assert found.kept.startswith("kept until ")
    (found,) = await site.provider(keep=None).find("app")
    assert found.kept == "kept for ever"
    await site.used(site.provider(), lambda f: (f / "a.txt").write_text("a"))
    (found,) = await site.provider(keep=timedelta(0)).find("app")
    assert found.kept == "not committed: a.txt"


async def test_a_folder_without_a_repository_is_set_aside(site: Site) -> None:
    provider = site.provider()
    workspace = await site.open(provider)
    (workspace.path / "work.txt").write_text("work")
    (workspace.path / ".git").rename(workspace.path / "git")
    with pytest.raises(WorkspaceError, match=r"it has no \.git folder of its own any more"):
        await provider.close(workspace, None)
    again = await site.open(provider)
    assert git(again.path, "status", "--porcelain") == ""
    aside = again.path.with_name(f"{again.path.name}.aside-1")
    assert (aside / "work.txt").read_text() == "work"
    assert any(str(aside) in line for line in site.said)
    await provider.close(again, None)


async def test_setup_is_run_once_and_again_when_a_lock_file_changed(site: Site) -> None:
    provider = site.provider(setup=["uv sync", "make 'all of it'"])
    commands = [["uv", "sync"], ["make", "all of it"]]
    await site.used(provider)
    assert site.ran == commands
    await site.used(provider, lambda f: commit(f, "uv.lock", "1"))
    assert site.ran == commands
    await site.used(provider)
    assert site.ran == commands * 2
    await site.used(site.provider(setup="uv sync --frozen"))
    assert site.ran[-1] == ["uv", "sync", "--frozen"]


async def test_a_setup_that_fails_is_tried_again_and_then_an_error(site: Site) -> None:
    failed = AgentResult(AgentOutcome.FAILED, "exit code 2", output_tail="no network")
    preparation = Preparation("uv sync", timedelta(minutes=1), [timedelta(0)])
    request = WorkspaceRequest("app", Task("1", "Fix", "Todo"), site.run, site.said.append)
    site.results = [failed, SUCCEEDED]
    before = await preparation.done(site.folder, "", request)
    assert site.ran == [["uv", "sync"]] * 2
    site.results = [failed, failed]
    with pytest.raises(WorkspaceError, match=r"setup failed: uv sync \(exit code 2\)") as caught:
        await preparation.done(site.folder, "", request)
    assert caught.value.output == "no network"
    (site.folder / "uv.lock").write_text("broken by an agent, which can mend it")
    site.results = [failed, failed]
    assert await preparation.done(site.folder, before, request) != before
    assert "The agent starts all the same." in site.said[-1]


async def test_a_failed_setup_leaves_the_folder_free_and_not_ready(site: Site) -> None:
    provider = site.provider(setup="uv sync")
    site.results = [AgentResult(AgentOutcome.FAILED, "not found", retryable=False)]
    with pytest.raises(WorkspaceError, match="setup failed"):
        await site.open(provider)
    await site.used(provider)
    assert site.ran == [["uv", "sync"]] * 2


async def test_hooks_are_run_around_each_attempt(site: Site) -> None:
    provider = site.provider(setup="uv sync", before_run=["a", "b 'c d'"], after_run="e")
    for _ in range(2):
        await site.used(provider)
    around = [["a"], ["b", "c d"], ["e"]]
    assert site.ran == [["uv", "sync"], *around, *around]
    site.ran.clear()
    workspace = await site.open(provider)
    site.results = [AgentResult(AgentOutcome.FAILED, "exit code 1")]
    await provider.close(workspace, None)
    assert site.said[-1] == "after_run failed: e (exit code 1)"


async def test_without_its_hook_no_agent_starts_and_the_folder_is_free(site: Site) -> None:
    provider = site.provider(setup="uv sync", before_run="a")
    site.results = [SUCCEEDED, AgentResult(AgentOutcome.FAILED, "exit code 1", output_tail="why")]
    with pytest.raises(WorkspaceError, match=r"before_run failed: a \(exit code 1\)") as caught:
        await site.open(provider)
    assert caught.value.output == "why"
    await site.used(provider)
    assert site.ran == [["uv", "sync"], ["a"], ["a"]], "it is ready all the same"


async def test_without_room_no_agent_starts(site: Site) -> None:
    with pytest.raises(WorkspaceError, match=r"no room for a folder: .* GB are free at .*min_free"):
        await site.open(site.provider(min_free=10**18))
    missing = site.provider(min_free=10**18).check()
    assert missing is not None and "min_free=1000000000000000000" in missing
    assert site.provider(min_free=1).check() is None


async def test_a_base_that_is_not_there_is_said_and_leaves_nothing(site: Site) -> None:
    with pytest.raises(WorkspaceError, match=r"has no branch, tag or commit 'nope'"):
        await site.open(site.provider(base="nope"))
    site.repository.path.rename(site.folder / "gone.git")
    with pytest.raises(WorkspaceError, match=r"git fetch failed") as caught:
        await site.open(site.provider())
    assert "does not appear to be a git repository" in caught.value.output
    (home,) = site.folder.glob("root/*/tasks/app/1")
    assert sorted(f.name for f in home.iterdir()) == ["lock"]


@pytest.mark.parametrize(
    ("template", "task_id", "name", "expected"),
    [
        ("athanore/{task_id}-{slug}", "42", "Fix the crash", "athanore/42-fix-the-crash"),
        ("athanore/{task_id}-{slug}", "42", "完了", "athanore/42"),
        ("{slug}/{task_id}", "42", "a/../b.lock", "a-b-lock/42"),
        ("x/{task_id}", "../..", "x", "x/0cfd1c96cb"),
        ("x/{task_id}", "PROJ-1", "x", "x/proj-1-060ed08977"),
    ],
)
def test_a_branch_is_named_by_its_template(
    template: str, task_id: str, name: str, expected: str
) -> None:
    assert branch_name(template, task_id, name) == expected


@pytest.mark.parametrize(
    "template",
    ["x", "{slug}", "{task_id}{other}", "{task_id!r}", "{task_id:>9}", "{task_id", "{}{task_id}",
     "-{task_id}", "/{task_id}", "../{task_id}", "a..{task_id}", "a b/{task_id}", "{task_id}.lock",
     "{task_id}/", "a\0{task_id}", "{task_id.__class__}"],
)  # fmt: skip
def test_a_template_that_gives_no_branch_of_its_own_is_refused(template: str) -> None:
    with pytest.raises(ConfigurationError, match="branch="):
        GitWorkspace("repo", branch=template)


@pytest.mark.parametrize(
    ("given", "text", "name"),
    [
        ("https://github.com/acme/toy.git", "https://github.com/acme/toy.git", "toy"),
        ("https://me:s3cret@example.org/acme/Toy", "https://example.org/acme/Toy", "toy"),
        ("git@github.com:acme/toy.git", "git@github.com:acme/toy.git", "toy"),
        ("ssh://git@example.org:22/toy", "ssh://git@example.org:22/toy", "toy"),
        ("/srv/git/toy.git/", "/srv/git/toy.git", "toy"),
    ],
)
def test_an_address_is_a_path_or_a_url(given: str, text: str, name: str) -> None:
    address = Address(given)
    assert (address.text, address.name) == (text, name)
    assert ("s3cret" in given) == (address.login is not None)


def test_a_login_is_one_line_for_one_server() -> None:
    login = Address("HTTPS://ann:s3%2Fcret@Example.org:8443/toy.git").login
    assert login == Login("https://Example.org:8443", "ann", "s3/cret")
    assert Address("https://s3cret@example.org/toy").login == Login(
        "https://example.org", "s3cret", ""
    )
    assert Address("https://:s3cret@h/toy").login == Login("https://h", "git", "s3cret")
    with pytest.raises(ConfigurationError, match="The login for repo='https://h/toy' is none"):
        Address("https://ann:s3%0Acret@h/toy")


@pytest.mark.parametrize(
    "wrong",
    ["", " ", "-u", "--upload-pack=x", "ext::sh -c id", "ftp://h/x", "a\nb", "fd::3", "x::y"],
)
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="repo="):
        GitWorkspace(wrong)


@pytest.mark.parametrize("wrong", ["", "  ", "sh -c 'x", ["uv sync", ""]], ids=str)
def test_a_setup_that_is_no_command_is_refused(wrong: Any) -> None:
    for option in ("setup", "before_run", "after_run", "before_remove"):
        with pytest.raises(ConfigurationError, match=f"{option}="):
            GitWorkspace("repo", **{option: wrong})
