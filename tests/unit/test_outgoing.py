"""A task's branch on its way out: what goes, what does not, and that nothing planted is run."""

from __future__ import annotations

import base64
import os
import shlex
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

import pytest

from athanore import AgentOutcome, GitWorkspace, Task
from athanore.errors import (
    BranchMovedError,
    BranchNotHereError,
    PublishError,
    PublishRefusedError,
)
from athanore.forges import PullRequest
from athanore.forges.texts import PullRequestTask
from athanore.models import AgentResult
from athanore.workspaces.base import Pushed, Work, Workspace, WorkspaceRequest
from athanore.workspaces.git import outgoing
from tests.repositories import Repository, commit, git

BRANCH = "athanore/1-fix-it"
TOKEN = "token-that-no-agent-sees"


class Remote:
    """A forge that is only a place to push to."""

    def __init__(self, remote: str, login: str = "") -> None:
        self.remote = remote
        self.login = login
        self.secret_env = frozenset[str]()
        self.secrets = frozenset({login} if login else ())

    def check(self) -> str | None:
        return None

    def find(self, branch: str) -> PullRequest | None:
        return None

    def open(self, branch: str, base: str, task: PullRequestTask) -> PullRequest:
        raise NotImplementedError

    def update(self, found: PullRequest, task: PullRequestTask) -> None:
        raise NotImplementedError


class Site:
    """A repository, and one task's folder."""

    is_published = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository(folder / "toy.git")
        self.provider = GitWorkspace(self.repository.path, root=folder / "root")

    async def begin(self) -> Workspace:
        return await self.provider.open(self.asked())

    def asked(self) -> WorkspaceRequest:
        async def run(*_: object) -> AgentResult:
            return AgentResult(AgentOutcome.SUCCEEDED)

        return WorkspaceRequest(
            "app", Task("1", "Fix it", "Todo"), run, lambda line: None, False, self.is_published
        )

    async def commit(self, name: str, text: str = "new") -> Path:
        """Have an attempt commit a file."""
        workspace = await self.begin()
        commit(workspace.path, name, text)
        await self.provider.close(workspace, AgentOutcome.SUCCEEDED)
        return workspace.path

    async def push(self, *, allow_ci_changes: bool = False) -> Pushed:
        return await self.provider.push("app", "1", allow_ci_changes=allow_ci_changes)

    async def work(self) -> Work:
        return await self.provider.work("app", "1")

    def published(self) -> str:
        return git(self.repository.path, "rev-parse", BRANCH)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_the_branch_goes_to_the_repository_and_nothing_else(site: Site) -> None:
    folder = await site.commit("one.txt")
    (folder / "not-committed.txt").write_text("draft")
    git(folder, "branch", "other")
    git(folder, "tag", "v1")
    pushed = await site.push()
    assert pushed.is_new
    assert pushed.subjects == ("Write one.txt",)
    assert site.published() == pushed.commit == git(folder, "rev-parse", "HEAD")
    assert site.repository.branches() == [BRANCH, "main"]
    assert git(site.repository.path, "tag") == ""
    assert not git(site.repository.path, "for-each-ref", "refs/athanore")


async def test_what_is_there_already_is_not_pushed_again(site: Site) -> None:
    await site.commit("one.txt")
    first = await site.push()
    again = await site.push()
    assert (again.commit, again.is_new) == (first.commit, False)
    await site.commit("two.txt")
    assert (await site.push()).subjects == ("Write one.txt", "Write two.txt")


@pytest.mark.nightly
async def test_a_branch_without_commits_is_not_pushed(site: Site) -> None:
    await site.provider.close(await site.begin(), AgentOutcome.SUCCEEDED)
    pushed = await site.push()
    assert (pushed.subjects, pushed.is_new) == ((), False)
    assert site.repository.branches() == ["main"]


@pytest.mark.nightly
async def test_a_folder_that_is_gone_is_no_hindrance(site: Site) -> None:
    await site.commit("one.txt")
    await site.provider.remove(site.asked(), force=True)
    assert (await site.push()).is_new


async def test_work_is_what_the_attempt_has_committed(site: Site) -> None:
    workspace = await site.begin()
    site.repository.add("later.txt", "of another task's clone")
    assert not (await site.work()).is_new
    await site.provider.close(workspace, None)
    workspace = await site.begin()
    commit(workspace.path, "one.txt", "new")
    found = await site.work()
    assert (found.subjects, found.is_new, found.wrong) == (("Write one.txt",), True, "")
    await site.provider.close(workspace, None)
    workspace = await site.begin()
    assert not (await site.work()).is_new
    await site.provider.close(workspace, None)


async def test_a_branch_that_was_rewritten_is_told_so(site: Site) -> None:
    folder = await site.commit("one.txt")
    first = (await site.push()).commit
    git(folder, "commit", "-q", "--amend", "-m", "Other words")
    wrong = (await site.work()).wrong
    assert f"lacks {first[:10]}" in wrong
    assert "git merge" in wrong
    with pytest.raises(PublishRefusedError, match="git merge"):
        await site.push()
    assert site.published() == first


async def test_a_branch_without_a_common_commit_is_refused_until_it_begins_at_the_base(
    site: Site,
) -> None:
    workspace = await site.begin()
    folder = workspace.path
    git(folder, "checkout", "-q", "--orphan", "other")
    git(folder, "rm", "-q", "-r", "--force", ".")
    commit(folder, "one.txt", "new")
    git(folder, "branch", "-q", "-M", "other", BRANCH)
    wrong = (await site.work()).wrong
    told = f"the branch {BRANCH!r} has no commit in common with its base 'main'"
    assert wrong.startswith(told)
    await site.provider.close(workspace, AgentOutcome.SUCCEEDED)
    with pytest.raises(PublishRefusedError, match="no commit in common"):
        await site.push()
    with pytest.raises(PublishRefusedError, match="no commit in common"):
        await site.provider.show("app", "1")
    assert site.repository.branches() == ["main"]
    command = wrong.partition("Put its commits onto that: git ")[2]
    git(folder, *shlex.split(command))
    assert (await site.push()).subjects == ("Write one.txt",)


async def test_what_somebody_else_has_pushed_there_stays(site: Site) -> None:
    await site.commit("one.txt")
    await site.push()
    git(site.repository.work, "fetch", "-q", str(site.repository.path), BRANCH)
    git(site.repository.work, "checkout", "-q", "FETCH_HEAD")
    theirs = commit(site.repository.work, "theirs.txt", "theirs")
    site.repository.push(f"HEAD:refs/heads/{BRANCH}")
    await site.commit("two.txt")
    with pytest.raises(PublishRefusedError, match="somebody else has pushed there"):
        await site.push()
    assert site.published() == theirs


@pytest.mark.nightly
async def test_a_branch_of_that_name_that_is_not_ours_stays(site: Site) -> None:
    other = site.repository.add("other.txt", "other")
    git(site.repository.work, "reset", "-q", "--hard", "HEAD~1")
    git(site.repository.work, "push", "-q", "--force", str(site.repository.path), "main")
    site.repository.push(f"{other}:refs/heads/{BRANCH}")
    await site.commit("one.txt")
    with pytest.raises(PublishRefusedError):
        await site.push()
    assert site.published() == other


async def test_what_decides_what_runs_elsewhere_needs_a_person(site: Site) -> None:
    await site.commit("one.txt")
    await site.commit(".github/workflows/ci.yml")
    with pytest.raises(PublishRefusedError, match=r"changes \.github/workflows/ci\.yml"):
        await site.push()
    assert site.repository.branches() == ["main"]
    assert (await site.push(allow_ci_changes=True)).is_new


@pytest.mark.parametrize(
    "name",
    [
        ".GitHub/Workflows/ci.yml", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab-ci.yml",
        "Jenkinsfile",
        ".gitmodules", "vendor/.gitmodules", ".circleci/config.yml", ".ci/run",
        "azure-pipelines.yml", ".github/actions/own/action.yml", ".github/dependabot.yml",
    ],
)  # fmt: skip
def test_what_is_sensitive(name: str) -> None:
    assert outgoing.is_sensitive(name)


@pytest.mark.parametrize(
    "name", ["src/.github/workflows/ci.yml", "ci.py", "docs/jenkinsfile.md", ".github/labels.yml"]
)
def test_what_is_not(name: str) -> None:
    assert not outgoing.is_sensitive(name)


@pytest.mark.nightly
async def test_a_change_that_a_later_commit_takes_back_is_seen(site: Site) -> None:
    folder = await site.commit(".gitlab-ci.yml")
    git(folder, "rm", "-q", ".gitlab-ci.yml")
    git(folder, "commit", "-q", "-m", "Take it back")
    with pytest.raises(PublishRefusedError, match="gitlab-ci"):
        await site.push()


@pytest.mark.nightly
async def test_what_the_base_has_changed_is_not_the_branchs(site: Site) -> None:
    folder = await site.commit("one.txt")
    await site.push()
    site.repository.add(".gitlab-ci.yml", "of a person")
    git(folder, "fetch", "-q", str(site.repository.path), "main")
    git(folder, "merge", "-q", "--no-edit", "FETCH_HEAD")
    assert (await site.push()).is_new


@pytest.mark.nightly
async def test_a_merge_that_leaves_out_what_the_base_changed_is_seen(site: Site) -> None:
    folder = await site.commit("one.txt")
    site.repository.add(".gitlab-ci.yml", "safe")
    git(folder, "fetch", "-q", str(site.repository.path), "main")
    git(folder, "merge", "-q", "--no-edit", "-s", "ours", "FETCH_HEAD")
    with pytest.raises(PublishRefusedError, match="gitlab-ci"):
        await site.push()


@pytest.mark.nightly
async def test_what_was_allowed_once_is_not_asked_for_again(site: Site) -> None:
    await site.commit(".gitlab-ci.yml")
    await site.push(allow_ci_changes=True)
    await site.commit("two.txt")
    assert (await site.push()).is_new


@pytest.mark.nightly
async def test_a_file_that_is_too_large_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "LARGEST_FILE", 1000)
    await site.commit("a large file.bin", "x" * 1001)
    assert "'a large file.bin' has more than" in (await site.work()).wrong
    with pytest.raises(PublishRefusedError, match="take it out of the commits"):
        await site.push()


@pytest.mark.nightly
async def test_a_repository_that_refuses_says_so(site: Site) -> None:
    hook = site.repository.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'only people push here' >&2\nexit 1\n")
    hook.chmod(0o755)
    await site.commit("one.txt")
    with pytest.raises(PublishRefusedError, match="pre-receive hook declined"):
        await site.push()


@pytest.mark.nightly
async def test_a_repository_that_does_not_answer_is_asked_again(site: Site) -> None:
    await site.commit("one.txt")
    site.repository.path.rename(site.folder / "away")
    with pytest.raises(PublishError) as failed:
        await site.push()
    assert not isinstance(failed.value, PublishRefusedError)
    (site.folder / "away").rename(site.repository.path)
    assert (await site.push()).is_new


class Elsewhere(ThreadingHTTPServer):
    """Asks git who it is, notes what it says, and is no repository.

    Attributes:
        logins: what it was told.
        secrets: what no program's variables or arguments may have while git talks to it.
        readable: those that had one of them.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.logins: list[str] = []
        self.secrets: list[bytes] = []
        self.readable: list[Path] = []


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Elsewhere)
        if (login := self.headers["authorization"]) is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.logins.append(login)
        for told in (*Path("/proc").glob("[0-9]*/environ"), *Path("/proc").glob("[0-9]*/cmdline")):
            with suppress(OSError):  # it has ended
                if any(secret in told.read_bytes() for secret in self.server.secrets):
                    self.server.readable.append(told)
        self.send_error(404)

    @override
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Elsewhere]:
    server = Elsewhere()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(30)
    server.server_close()


def holds(folder: Path, text: str) -> list[Path]:
    """The files below a folder that contain a text."""
    files = [f for f in folder.rglob("*") if f.is_file() and not f.is_symlink()]
    return [file for file in files if text.encode() in file.read_bytes()]


async def test_what_an_agent_plants_is_not_run_and_sees_no_token(
    site: Site, server: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".netrc").write_text("machine 127.0.0.1 login eve password eves\n")
    elsewhere, trace = Repository(tmp_path / "elsewhere.git"), tmp_path / "trace"
    spy = tmp_path / "spy"
    spy.write_text(f'#!/bin/sh\n{{ echo "$0 $*"; env; cat; }} >>{trace} 2>&1 </dev/null\nexit 0\n')
    spy.chmod(0o755)
    address = f"http://127.0.0.1:{server.server_port}"
    login = f"x-access-token:{TOKEN}"
    site.provider.forge = Remote(f"{address}/toy.git", login)
    basic = base64.b64encode(login.encode())
    server.secrets = [TOKEN.encode(), basic]
    workspace = await site.begin()
    folder = workspace.path
    hooks = folder / "planted-hooks"
    hooks.mkdir()
    names = (
        "pre-push", "post-checkout", "reference-transaction", "pre-receive", "post-index-change",
        "pre-auto-gc", "fsmonitor-watchman", "proc-receive",
    )  # fmt: skip
    for name in names:
        (hooks / name).symlink_to(spy)
        (folder / ".git" / "hooks" / name).parent.mkdir(exist_ok=True)
        (folder / ".git" / "hooks" / name).symlink_to(spy)
    for key, value in {
        "core.fsmonitor": str(spy),
        "core.sshCommand": str(spy),
        "core.hooksPath": str(hooks),
        "core.pager": str(spy),
        "core.editor": str(spy),
        "core.askPass": str(spy),
        "core.alternateRefsCommand": str(spy),
        "core.gitProxy": str(spy),
        "credential.helper": f"!{spy}",
        f"url.file://{elsewhere.path}.insteadOf": f"{address}/toy.git",
        f"url.file://{elsewhere.path}.pushInsteadOf": f"{address}/toy.git",
        "remote.origin.url": str(elsewhere.path),
        "remote.origin.pushurl": f"ext::{spy}",
        "remote.origin.receivepack": str(spy),
        "remote.origin.uploadpack": str(spy),
        "uploadpack.packObjectsHook": str(spy),
        "filter.spy.clean": str(spy),
        "filter.spy.smudge": str(spy),
        "filter.spy.process": str(spy),
        "diff.external": str(spy),
        "diff.spy.textconv": str(spy),
        "merge.spy.driver": str(spy),
        "gpg.program": str(spy),
        "push.gpgSign": "true",
        "push.recurseSubmodules": "on-demand",
        "http.proxy": f"{address}/proxy",
        "http.extraHeader": "X-Planted: yes",
        "protocol.ext.allow": "always",
        "submodule.lib.url": f"ext::{spy}",
    }.items():
        git(folder, "config", key, value)
    git(folder, "config", "core.fsmonitor", "false")  # for the calls of this test alone
    (folder / ".gitattributes").write_text("* filter=spy diff=spy merge=spy\n")
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "attributes").write_text("* filter=spy diff=spy\n")
    calm = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.hooksPath",
            "GIT_CONFIG_VALUE_0": os.devnull}  # fmt: skip
    (folder / "one.txt").write_text("new")
    for key in ("process", "clean", "smudge"):
        git(folder, "config", "--unset", f"filter.spy.{key}")
    git(folder, "add", "one.txt", ".gitattributes", env=calm)
    git(folder, "-c", "commit.gpgSign=false", "commit", "-q", "-m", "Plant", env=calm)
    for key in ("process", "clean", "smudge"):
        git(folder, "config", f"filter.spy.{key}", str(spy))
    git(folder, "config", "core.fsmonitor", str(spy))
    (folder / "left.txt").write_text("not committed")
    trace.unlink(missing_ok=True)

    found = await site.work()
    assert found.is_new
    await site.provider.close(workspace, AgentOutcome.SUCCEEDED)
    with pytest.raises(PublishError):  # what answers is no repository, but it was asked
        await site.push()
    assert set(server.logins) == {f"Basic {basic.decode()}"}
    assert server.readable == []
    site.provider.forge = Remote(str(site.repository.path))
    assert (await site.push()).is_new
    assert not trace.exists(), trace.read_text()
    assert elsewhere.branches() == ["main"]
    assert site.published() == found.commit
    assert holds(tmp_path, TOKEN) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["objects/info/alternates", "commondir"])
async def test_a_folder_that_borrows_from_another_repository_is_not_taken(
    site: Site, name: str
) -> None:
    folder = await site.commit("one.txt")
    other = Repository(site.folder / "secret.git")
    path = folder / ".git" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{other.path}/objects\n")
    with pytest.raises(PublishError, match="takes what is in another repository"):
        await site.push()


async def test_another_host_goes_on_from_what_is_published(site: Site, tmp_path: Path) -> None:
    await site.commit("one.txt")
    first = await site.push()
    site.provider = GitWorkspace(site.repository.path, root=tmp_path / "there")
    with pytest.raises(BranchNotHereError, match="task '1' is not on this host"):
        await site.push()
    site.is_published = True
    workspace = await site.begin()
    assert f"it goes on from {first.commit[:10]} there" in workspace.notes[0]
    commit(workspace.path, "two.txt", "new")
    await site.provider.close(workspace, AgentOutcome.SUCCEEDED)
    pushed = await site.push()
    assert pushed.subjects == ("Write one.txt", "Write two.txt")
    assert site.published() == pushed.commit
    again = await site.begin()
    assert again.notes == ()


@pytest.mark.nightly
async def test_only_what_was_approved_is_pushed(site: Site) -> None:
    await site.commit("one.txt")
    seen = await site.provider.show("app", "1")
    await site.commit("two.txt")
    with pytest.raises(BranchMovedError, match=f"and not at {seen.commit[:10]}"):
        await site.provider.push("app", "1", allow_ci_changes=True, commit=seen.commit)
    assert site.repository.branches() == ["main"]
