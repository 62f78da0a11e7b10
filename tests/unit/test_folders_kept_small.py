"""What keeps the folders of tasks from growing: their removal, a quota, and packing the mirror."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, DirectoryWorkspace, MemoryAdapter
from athanore.errors import WorkspaceError
from athanore.services.folders import workspaces
from athanore.workspaces.git.address import Address
from athanore.workspaces.git.commands import Git
from athanore.workspaces.git.mirror import Mirror
from athanore.workspaces.room import size_of
from tests.harness import prompt
from tests.repositories import commit, git
from tests.unit.test_git_workspace import Site, site

__all__ = ["site"]

FAILED = AgentResult(AgentOutcome.FAILED, "exit code 1")


async def test_a_hook_is_run_before_a_folder_is_removed(site: Site) -> None:
    provider = site.provider(before_remove=["down", "log 'all of it'"])
    await site.used(provider, lambda folder: commit(folder, "a.txt", "a"))
    with pytest.raises(WorkspaceError, match="is kept: kept until"):
        await provider.remove(site.asked())
    assert site.ran == [], "a folder that stays is not told"
    await provider.finish(site.asked())
    assert site.ran == [["down"], ["log", "all of it"]]
    assert await provider.find("app") == []
    await provider.finish(site.asked())
    assert len(site.ran) == 2, "a folder that is gone is not told again"


async def test_where_its_hook_fails_a_folder_stays_unless_forced(site: Site) -> None:
    provider = site.provider(before_remove="down", keep=timedelta(0))
    await site.used(provider)
    site.results = [FAILED]
    with pytest.raises(WorkspaceError, match=r"is kept: before_remove failed: down \(exit code 1"):
        await provider.remove(site.asked())
    assert len(await provider.find("app")) == 1
    site.results = [FAILED]
    await provider.remove(site.asked(), force=True)
    assert await provider.find("app") == []
    assert "before_remove failed: down (exit code 1)" in site.said[-1]


async def test_the_hook_runs_as_the_agent_does_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ATHANORE_TOKEN", "that-of-the-worker")
    space = DirectoryWorkspace(tmp_path / "root", before_remove=["pwd", "env"], keep=timedelta(0))
    app = AgentDispatcher(
        "true", name="app", queue_backend=MemoryAdapter(["Todo"]), workspace=space
    )
    app.route("Todo", env={"OF_THE_ROUTE": "yes"})(prompt)
    asked = workspaces.removal_request(app, space, Site.asked_for("1"))
    opened = await space.open(asked)
    await space.close(opened, None)
    with caplog.at_level(logging.INFO, "athanore.worker"):
        (removal,) = [one async for one in workspaces.clean(app)]
    assert removal.refused == "" and not opened.path.exists()
    said = [record.getMessage() for record in caplog.records]
    assert str(opened.path) in said and "OF_THE_ROUTE=yes" in said
    assert "ATHANORE_TASK_ID=1" in said
    assert not [line for line in said if "that-of-the-worker" in line]


async def test_above_the_quota_no_new_folder_is_made_and_the_others_go_on(site: Site) -> None:
    await site.used(site.provider(), lambda f: (f / "large.bin").write_bytes(os.urandom(200_000)))
    full = site.provider(max_size=200_000)
    with pytest.raises(WorkspaceError, match=r"no room for a folder: .* GB are taken .*max_size=2"):
        await site.open(full, "2")
    missing = full.check()
    assert missing is not None and "max_size=200000 allows 0.0 GB" in missing
    again = await site.open(full, "1")
    await full.close(again, AgentOutcome.SUCCEEDED)
    await full.remove(site.asked(), force=True)
    wide = site.provider(max_size=10**9)
    assert wide.check() is None
    await wide.close(await site.open(wide, "2"), None)


def test_what_is_shared_counts_once_and_what_links_lead_to_not_at_all(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root / "a", elsewhere):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(os.urandom(100_000))
    alone = size_of(root)
    assert 100_000 <= alone < 200_000
    os.link(root / "a" / "file", root / "again")
    (root / "link").symlink_to(elsewhere)
    assert size_of(root) - alone < 50_000
    assert size_of(tmp_path / "missing") == 0


def _all(folder: Path, *refs: str) -> Sequence[str]:
    return git(folder, "rev-list", *refs).splitlines()


async def test_packing_the_mirror_loses_nothing_of_it_and_of_the_clones(site: Site) -> None:
    git(site.repository.work, "switch", "-q", "-c", "gone")
    upstream = commit(site.repository.work, "gone.txt", "gone")
    site.repository.push("gone")
    git(site.repository.work, "switch", "-q", "main")
    provider, made = site.provider(), list[str]()

    def rewritten(folder: Path) -> None:
        git(folder, "switch", "-q", "--detach", upstream)
        made.append(commit(folder, "a.txt", "a"))

    await site.used(provider, rewritten)
    folder = (await provider.find("app"))[0].path
    git(folder, "switch", "-q", "athanore/1-fix-it")
    await site.used(provider)
    site.repository.push(":gone")
    for number in range(2, 5):  # each fetches, and prunes the branch that is gone
        await provider.close(await site.open(provider, str(number)), None)
    mirror = Mirror(site.mirror.parent, Address(site.repository.path))
    before = len(list(site.mirror.glob("objects/??/*")))
    assert before > 5
    await mirror.pack(Git(), many=before + 1)
    assert len(list(site.mirror.glob("objects/??/*"))) == before, "it is not worth it"
    refs = git(site.mirror, "for-each-ref")
    await mirror.pack(Git(), many=1)
    assert not list(site.mirror.glob("objects/??/*"))
    assert git(site.mirror, "for-each-ref") == refs
    # No ref of the mirror leads to what was on the branch that is gone, and it is there.
    assert upstream in _all(site.mirror, made[0])
    for found in await provider.find("app"):
        git(found.path, "fsck", "--full", "--strict")
        assert site.repository.first in _all(found.path, "HEAD")
    assert upstream in _all(folder, made[0])
    await provider.close(await site.open(provider, "9"), None)
    git(site.mirror, "fsck", "--full", "--connectivity-only")


async def test_the_provider_packs_and_waits_for_nobody(site: Site) -> None:
    provider = site.provider()
    await provider.tidy()
    await site.used(provider)
    stale = site.mirror / "objects" / "pack" / "tmp_pack_of_a_killed_git"
    stale.touch()
    os.utime(stale, (0, 0))
    await provider.tidy()
    assert not stale.exists()
