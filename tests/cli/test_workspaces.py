"""`athanore workspaces` and `athanore workspaces clean`; neither needs Prefect."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from athanore import AgentDispatcher, AgentOutcome, AgentResult, GitWorkspace, MemoryAdapter, Task
from athanore.worker.duties.tidying import tidy_once
from athanore.workspaces.base import Workspace, WorkspaceRequest
from tests.cli.rig import Cli
from tests.harness import prompt
from tests.repositories import Repository

SCRIPT = """\
from datetime import timedelta
from athanore import AgentDispatcher, GitWorkspace, JsonFileAdapter

def space():
    return GitWorkspace({repo!r}, root={root!r}, keep=timedelta(days={keep}))

dispatcher = AgentDispatcher(
    name="spaces", command="true", queue_backend=JsonFileAdapter("board.json"), workspace=space()
)

@dispatcher.route("Todo")
def todo(task_id: str, task_name: str) -> str:
    return task_name

@dispatcher.route("Review", workspace=space())
def review(task_id: str, task_name: str) -> str:
    return task_name
"""


class Site:
    """An app whose folders have been used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository(folder / "toy.git")
        self.root = folder / "root"
        self.workspace = GitWorkspace(self.repository.path, root=self.root)

    def app(self, keep: float = 7) -> str:
        script = self.folder / f"run-{keep}.py"  # a module is loaded once
        text = SCRIPT.format(repo=str(self.repository.path), root=str(self.root), keep=keep)
        script.write_text(text)
        return f"{script}:dispatcher"

    async def open(self, task_id: str, name: str) -> Workspace:
        async def run(*_: object) -> AgentResult:
            return AgentResult(AgentOutcome.SUCCEEDED)

        task = Task(task_id, name, "Todo")
        return await self.workspace.open(WorkspaceRequest("spaces", task, run, lambda _: None))

    def used(self, task_id: str, name: str, file: str = "") -> Path:
        async def use() -> Path:
            opened = await self.open(task_id, name)
            if file:
                (opened.path / file).write_text("work")
            await self.workspace.close(opened, AgentOutcome.SUCCEEDED)
            return opened.path

        return asyncio.run(use())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    return Site(tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli("http://127.0.0.1:9/api", capsys)


def test_folders_are_listed_with_what_keeps_them(site: Site, cli: Cli) -> None:
    assert cli.ok("workspaces", "--app", site.app(), "--json").json == []
    path = site.used("1", "Fix it", "left.txt")
    (found,) = cli.ok("workspaces", "--app", site.app(), "--json").json
    assert found.pop("used_at")
    assert found == {
        "task_id": "1",
        "task_name": "Fix it",
        "path": str(path),
        "branch": "athanore/1-fix-it",
        "in_use": False,
        "is_abandoned": False,
        "kept": "not committed: left.txt",
    }
    table = cli.ok("workspaces", "--app", site.app()).out
    assert all(word in table for word in ("athanore/1-fix-it", "not committed", str(path)))


def test_what_may_go_is_removed_and_the_rest_by_force_only(site: Site, cli: Cli) -> None:
    clean, dirty = site.used("1", "Fix it"), site.used("2", "Build it", "left.txt")
    command = ("workspaces", "clean", "--app")
    assert cli.ok(*command, site.app()).out == "There is nothing to remove.\n"
    dry = cli.ok(*command, site.app(keep=0), "--dry-run").out
    assert dry == f"Would remove {clean}.\n"
    assert clean.is_dir()
    assert cli.ok(*command, site.app(keep=0)).out == f"Removed {clean}.\n"
    assert (clean.exists(), dirty.exists()) == (False, True)
    forced = cli.ok(*command, site.app(), "--force").out
    assert forced == f"Removed {dirty} (not committed: left.txt).\n"
    assert not dirty.exists()


def test_a_folder_in_use_is_left_alone(site: Site, cli: Cli) -> None:
    opened = asyncio.run(site.open("1", "Fix it"))
    forced = cli.ok("workspaces", "clean", "--force", "--app", site.app(keep=0)).out
    assert forced == "There is nothing to remove.\n"
    assert opened.path.is_dir()
    asyncio.run(site.workspace.close(opened, None))


def test_a_worker_removes_what_may_go_by_itself(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    clean, dirty = site.used("1", "Fix it"), site.used("2", "Build it", "left.txt")
    workspace = GitWorkspace(site.repository.path, root=site.root, keep=timedelta(0))
    app = AgentDispatcher(
        "true", name="spaces", queue_backend=MemoryAdapter(["Todo"]), workspace=workspace
    )
    app.route("Todo")(prompt)
    with caplog.at_level(logging.INFO, "athanore.worker"):
        asyncio.run(tidy_once(app))
    assert (clean.exists(), dirty.exists()) == (False, True)
    assert f"Removed {clean}: nobody has used it since" in caplog.text
