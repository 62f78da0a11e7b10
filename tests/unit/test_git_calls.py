"""How git is called: whom it may be asked of, how long it is waited for, and what an end leaves."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import AgentOutcome, AgentResult, GitWorkspace, Task
from athanore.errors import WorkspaceError
from athanore.workspaces import places
from athanore.workspaces.base import WorkspaceRequest
from athanore.workspaces.git import commands, mirror
from athanore.workspaces.git.commands import Git, GitError
from athanore.workspaces.places import Place
from tests.repositories import Repository, commit, git
from tests.support import wait_until

SOMEBODY = 54321


def asked(task_id: str = "1") -> WorkspaceRequest:
    async def run(*_: object) -> AgentResult:
        return AgentResult(AgentOutcome.SUCCEEDED)

    return WorkspaceRequest("app", Task(task_id, "Fix it", "Todo"), run, lambda line: None)


def only(folder: Path, pattern: str) -> Path:
    """The one path below a folder that fits."""
    (found,) = folder.glob(pattern)
    return found


def given_away(path: Path) -> None:
    """Have a repository belong to another user."""
    for there in (path, *path.rglob("*")):
        os.lchown(there, SOMEBODY, SOMEBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_a_repository_of_another_user_that_the_app_names_can_be_used(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    repository, share = Repository(tmp_path / "toy.git"), tmp_path / "share.git"
    share.mkdir()
    git(share, "init", "-q", "--bare")
    given_away(repository.path)
    given_away(share)
    space = GitWorkspace(
        f"{scheme}{repository.path}", root=tmp_path / "root", share=f"{scheme}{share}"
    )
    workspace = await space.open(asked())
    made = commit(workspace.path, "a.txt", "a")
    await space.close(workspace, AgentOutcome.SUCCEEDED)
    pushed = await space.push("app", "1", allow_ci_changes=False)
    assert (pushed.commit, pushed.is_new) == (made, True)


async def test_a_folder_of_another_user_is_not_read(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    repository = Repository(tmp_path / "toy.git")
    space = GitWorkspace(repository.path, root=tmp_path / "root")
    workspace = await space.open(asked())
    given_away(workspace.path)
    with pytest.raises(WorkspaceError) as found:
        await space.work("app", "1")
    assert "dubious ownership" in found.value.output


async def test_the_mirror_is_waited_for_longer_than_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert mirror._WAIT > 2 * mirror._FETCH_TIMEOUT  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(places, "_SAID_AFTER", 0.1)
    caplog.set_level("INFO", "athanore.worker")
    repository = Repository(tmp_path / "toy.git")
    space = GitWorkspace(repository.path, root=tmp_path / "root")
    first = await space.open(asked())
    lock_file = only(tmp_path, "root/*/mirror.lock")
    lock = places.FileLock(lock_file, thread_local=False)
    lock.acquire()
    opening = asyncio.create_task(space.open(asked("2")))
    while not caplog.messages:
        assert not opening.done()
        await asyncio.sleep(0.05)
    assert caplog.messages == [
        f"Waiting for {lock_file.parent}, which another attempt has (mirror.lock)."
    ]
    lock.release()
    second = await opening
    for workspace in (first, second):
        await space.close(workspace, AgentOutcome.SUCCEEDED)


SLOW = """#!/bin/sh
touch "$NOTES/began"
trap 'touch "$NOTES/asked"; exit 1' TERM
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("how", ["cancelled", "too long"])
async def test_a_git_that_is_ended_is_asked_first(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program := tmp_path / "git").write_text(SLOW)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    limit = timedelta(seconds=1 if how == "too long" else 60)
    calling = asyncio.create_task(Git()("fetch", env={"NOTES": str(tmp_path)}, limit=limit))
    await asyncio.to_thread(wait_until, "git has begun", (tmp_path / "began").exists)
    if how == "cancelled":
        calling.cancel()
    with pytest.raises((asyncio.CancelledError, GitError)):
        await calling
    assert (tmp_path / "asked").exists()


async def test_a_git_that_does_not_obey_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_GRACE", timedelta(seconds=0.2))
    (program := tmp_path / "git").write_text(SLOW.replace("exit 1", ":"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(GitError, match="took longer"):
        await Git()("fetch", env={"NOTES": str(tmp_path)}, limit=timedelta(seconds=1))


async def test_locks_that_a_killed_git_has_left_are_removed_and_young_ones_are_not(
    tmp_path: Path,
) -> None:
    repository = Repository(tmp_path / "toy.git")
    space = GitWorkspace(repository.path, root=tmp_path / "root")
    workspace = await space.open(asked())
    commit(workspace.path, "a.txt", "a")
    await space.close(workspace, AgentOutcome.SUCCEEDED)
    mirror_git = only(tmp_path, "root/*/mirror.git")
    place = Place(space.folders, "app", "1", space.folder_name)
    ours = f"refs/athanore/{place.home.parent.name}/{place.home.name}"
    left = [
        mirror_git / "packed-refs.lock",
        mirror_git / "refs" / "heads" / "main.lock",
        mirror_git / ours / "folder" / "heads" / "athanore" / "1-fix-it.lock",
    ]
    young = mirror_git / "refs" / "tags" / "v1.lock"
    for lock in (*left, young):
        lock.touch()
    before = time.time() - 7200
    for lock in left:
        os.utime(lock, (before, before))
    repository.add("b.txt", "b")
    workspace = await space.open(asked())
    commit(workspace.path, "c.txt", "c")
    await space.close(workspace, AgentOutcome.SUCCEEDED)
    another = await space.open(asked("2"))
    assert (another.path / "b.txt").exists()
    await space.close(another, AgentOutcome.SUCCEEDED)
    assert not any(lock.exists() for lock in left) and young.exists()
