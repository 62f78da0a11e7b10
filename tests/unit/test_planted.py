"""An agent may plant programs in its folder: nothing of them runs when the worker takes its work.

What is planted is what git itself would run or follow: settings, attributes, hooks, submodules,
alternates, and repositories within the folder.
"""

from __future__ import annotations

import json
import os
import stat
from datetime import timedelta
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from athanore import AgentOutcome, GitWorkspace, Workspace
from athanore.errors import WorkspaceError
from tests.repositories import Repository, commit, git
from tests.unit.test_git_workspace import Site

HOOKS = (
    "applypatch-msg", "fsmonitor-watchman", "post-applypatch", "post-checkout", "post-commit",
    "post-index-change", "post-merge", "post-receive", "post-rewrite", "post-update",
    "pre-applypatch", "pre-auto-gc", "pre-commit", "pre-merge-commit", "pre-push", "pre-rebase",
    "pre-receive", "prepare-commit-msg", "proc-receive", "reference-transaction",
    "sendemail-validate", "update",
)  # fmt: skip

SETTINGS = """
[core]
    fsmonitor = {run} fsmonitor
    sshCommand = {run} sshCommand
    gitProxy = {run} gitProxy
    askPass = {run} askPass
    editor = {run} editor
    pager = {run} pager
    alternateRefsCommand = {run} alternateRefs
    hooksPath = {hooks}
    attributesFile = {attributes}
[credential]
    helper = !{run} credential
[remote "origin"]
    url = ext::{run} origin
    pushurl = ext::{run} pushurl
    uploadpack = {run} uploadpack
    receivepack = {run} receivepack
    promisor = true
    partialclonefilter = blob:none
    fetch = +refs/heads/*:refs/remotes/origin/*
[url "ext::{run} insteadOf "]
    insteadOf = /
[url "ext::{run} pushInsteadOf "]
    pushInsteadOf = /
[uploadpack]
    packObjectsHook = {run} packObjects
    allowFilter = true
[filter "planted"]
    clean = {run} clean
    smudge = {run} smudge
    process = {run} process
    required = true
[diff "planted"]
    command = {run} diff
    textconv = {run} textconv
[merge "planted"]
    driver = {run} merge
[diff]
    external = {run} external
[gpg]
    program = {run} gpg
[commit]
    gpgSign = true
[submodule "sub"]
    url = ext::{run} submodule
    update = !{run} update
    active = true
[submodule]
    recurse = true
[fetch]
    recurseSubmodules = true
[trace2]
    eventTarget = {trace}
[gc]
    auto = 1
[alias]
    fetch = !{run} alias
    status = !{run} alias
[protocol "ext"]
    allow = always
[extensions]
    partialClone = origin
"""


class Traps:
    """Programs that leave a mark when they are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.program = folder / "trap"
        self.marks = folder / "marks"
        self.marks.mkdir()
        self.program.write_text(f'#!/bin/sh\nenv > {self.marks}/"$1"\n')
        self.program.chmod(0o755)
        self.hooks = folder / "hooks"
        self.hooks.mkdir()
        self.put_hooks(self.hooks)

    def put_hooks(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name in HOOKS:
            (folder / name).write_text(f"#!/bin/sh\nexec {self.program} hook-{name}\n")
            (folder / name).chmod(0o755)

    def put_settings(self, repository: Path) -> None:
        (self.folder / "attributes").write_text("* filter=planted diff=planted merge=planted\n")
        text = SETTINGS.format(
            run=self.program,
            hooks=self.hooks,
            attributes=self.folder / "attributes",
            trace=self.marks / "trace",
        )
        with (repository / "config").open("a") as file:
            file.write(text)
        git(repository, "config", "core.repositoryFormatVersion", "1")

    def sprung(self) -> list[str]:
        return sorted(f.name for f in self.marks.iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def planted(site: Site, provider: GitWorkspace, traps: Traps) -> Workspace:
    """Have an agent commit, leave work, and plant all traps."""
    workspace = await site.open(provider)
    folder = workspace.path
    commit(folder, "done.txt", "done")
    inner = folder / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    commit(inner, "inner.txt", "inner")
    git(folder, "add", "inner")
    (folder / ".gitmodules").write_text(
        f'[submodule "sub"]\n\tpath = sub\n\turl = "ext::{traps.program} gitmodules"\n'
    )
    (folder / ".gitattributes").write_text("* filter=planted diff=planted merge=planted text\n")
    git(folder, "add", ".gitmodules", ".gitattributes")
    git(folder, "commit", "-q", "-m", "Plant")
    (inner / "inner.txt").write_text("changed")
    (folder / "left.txt").write_text("left")
    for repository in (folder / ".git", inner / ".git"):
        traps.put_hooks(repository / "hooks")
        traps.put_settings(repository)
    return workspace


async def test_nothing_that_is_planted_runs_when_the_worker_takes_the_work(
    site: Site, tmp_path: Path
) -> None:
    traps = Traps(tmp_path / "traps")
    provider = site.provider(keep=timedelta(0))
    workspace = await planted(site, provider, traps)
    notes = await provider.close(workspace, AgentOutcome.SUCCEEDED)
    assert "left.txt" in notes[0]
    assert "inner (a repository of its own)" in "".join(notes)
    assert "left.txt" in site.files("refs/athanore/app/1/1")
    await provider.find("app")
    again = await site.open(provider)
    await provider.close(again, None)
    with pytest.raises(WorkspaceError, match="is kept"):
        await provider.remove(site.asked())
    await provider.remove(site.asked(), force=True)
    assert traps.sprung() == []


async def test_the_traps_are_ones_that_an_ordinary_git_runs_into(
    site: Site, tmp_path: Path
) -> None:
    traps = Traps(tmp_path / "traps")
    provider = site.provider()
    workspace = await planted(site, provider, traps)
    with pytest.raises(CalledProcessError):  # the filter, which must succeed, does not
        git(workspace.path, "add", "-A", "--", "left.txt")
    assert {"fsmonitor", "process"} <= set(traps.sprung())
    await provider.close(workspace, None)


async def test_what_is_in_another_repository_is_not_taken_through_alternates(
    site: Site, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "private.git")
    private = other.add("private.txt", "private")
    provider = site.provider()
    workspace = await site.open(provider)
    own = workspace.path / ".git"
    (own / "objects" / "info").mkdir(exist_ok=True)
    (own / "objects" / "info" / "alternates").write_text(f"{other.path}/objects\n")
    (own / "refs" / "heads" / "mine").write_text(f"{private}\n")
    with pytest.raises(WorkspaceError, match="takes what is in another repository"):
        await provider.close(workspace, AgentOutcome.SUCCEEDED)
    assert "mine" not in git(site.mirror, "for-each-ref")


@pytest.mark.parametrize("part", [".git", ".git/objects", ".git/refs"])
async def test_what_links_lead_to_is_not_taken(site: Site, tmp_path: Path, part: str) -> None:
    other = Repository(tmp_path / "private.git")
    private = other.add("private.txt", "private")
    provider = site.provider()
    workspace = await site.open(provider)
    (workspace.path / part).rename(tmp_path / "moved")
    target = {".git": "", ".git/objects": "objects", ".git/refs": "refs"}[part]
    (workspace.path / part).symlink_to(other.path / target)
    with pytest.raises(WorkspaceError):
        await provider.close(workspace, AgentOutcome.SUCCEEDED)
    assert private not in git(site.mirror, "for-each-ref")


async def test_git_has_nothing_of_the_launcher(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call of git tells its environment; variables and files of the launcher are traps."""
    traps = Traps(tmp_path / "traps")
    home = tmp_path / "home"
    home.mkdir()
    template = tmp_path / "template"
    template.mkdir()
    traps.put_hooks(template / "hooks")
    (home / ".gitconfig").write_text(
        f"[init]\n\ttemplateDir = {template}\n[core]\n\thooksPath = {traps.hooks}\n"
        f'\tfsmonitor = {traps.program} fsmonitor\n[url "ext::{traps.program} insteadOf "]\n'
        f"\tinsteadOf = {tmp_path}\n[commit]\n\tgpgSign = true\n"
    )
    monkeypatch.setenv("HOME", str(home))
    secrets = {"ATHANORE_API_KEY": "s3cret-1", "GITHUB_TOKEN": "s3cret-2", "AWS_SECRET": "s3cret-3"}
    launcher = {
        "GIT_DIR": str(tmp_path / "nowhere"),
        "GIT_WORK_TREE": str(tmp_path),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "objects"),
        "GIT_SSH_COMMAND": f"{traps.program} ssh",
        "GIT_EXTERNAL_DIFF": f"{traps.program} diff",
        "GIT_TEMPLATE_DIR": str(template),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.pager",
        "GIT_CONFIG_VALUE_0": f"{traps.program} counted",
        "GIT_CONFIG_PARAMETERS": f"'core.hooksPath'='{traps.hooks}'",
        "GIT_TRACE": str(traps.marks / "trace"),
    }
    for name, value in {**secrets, **launcher}.items():
        monkeypatch.setenv(name, value)
    real, calls = tmp_path / "bin", tmp_path / "calls"
    real.mkdir()
    calls.mkdir()
    git_itself = next(
        p for d in os.environ["PATH"].split(os.pathsep) if (p := Path(d) / "git").exists()
    )
    told = real / "git"
    told.write_text(f'#!/bin/sh\nenv -0 > {calls}/$$\nexec {git_itself} "$@"\n')
    told.chmod(told.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{real}{os.pathsep}{os.environ['PATH']}")
    provider = site.provider()
    workspace = await site.open(provider)
    (workspace.path / "left.txt").write_text("left")
    await provider.close(workspace, AgentOutcome.SUCCEEDED)
    seen = [file.read_text() for file in calls.iterdir()]
    assert len(seen) > 8
    known = {*launcher, *secrets} - {
        "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0",
        "GIT_CONFIG_VALUE_0", "GIT_SSH_COMMAND",
    }  # fmt: skip
    for environment in seen:
        variables = dict(entry.split("=", 1) for entry in environment.split("\0") if entry)
        assert not known & set(variables), json.dumps(variables)
        assert not ({*secrets.values(), *launcher.values()} - {"1"}) & set(variables.values())
        if variables["HOME"] != "/nonexistent":  # the fetch from the repository itself
            assert variables["GIT_DIR"] == str(site.mirror)
            assert variables["GIT_CONFIG_GLOBAL"] == os.devnull
    assert traps.sprung() == []
    assert not list((workspace.path / ".git").glob("hooks/*"))
