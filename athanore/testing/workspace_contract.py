"""The contract of a provider of folders, as tests. Subclass it for your own:

    class TestMine(WorkspaceContract):
        @pytest.fixture
        def make(self, tmp_path: Path) -> ProviderMaker:
            return lambda: MyWorkspace(tmp_path / "root")

pytest collects the tests of the subclass. They need pytest-asyncio in auto mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from athanore.errors import WorkspaceError
from athanore.models import AgentOutcome, AgentResult, Task
from athanore.workspaces.base import Workspace, WorkspaceProvider, WorkspaceRequest, is_provider

type ProviderMaker = Callable[[], WorkspaceProvider]
"""Makes providers of the same folders, as two processes would have them."""

APP = "contract"

ODD_IDS = ("", "..", "../..", "/etc", "a/b", "a\\b", "-rf", "a\0b", "x" * 300, "Fix", "fix", ".git")
"""Ids that a board may have; each is another task."""


async def ran(words: Sequence[str], folder: Path, timeout: timedelta) -> AgentResult:
    """Take a command for one that succeeded."""
    return AgentResult(AgentOutcome.SUCCEEDED)


def request(task_id: str = "1", app: str = APP, name: str = "Fix it") -> WorkspaceRequest:
    """Ask for the folder of a task."""
    return WorkspaceRequest(app, Task(task_id, name, "Todo"), ran, lambda line: None)


class WorkspaceContract:
    """What every provider of folders must do. Override the fixture `make`."""

    @pytest.fixture
    def make(self) -> ProviderMaker:
        """Make providers."""
        raise NotImplementedError("override the fixture `make`")

    def test_it_is_a_provider_and_finds_nothing_wrong(self, make: ProviderMaker) -> None:
        assert is_provider(make())
        assert make().check() is None

    async def test_a_folder_is_there_and_as_it_was_left(self, make: ProviderMaker) -> None:
        first = await _used(make(), "work.txt", AgentOutcome.FAILED)
        provider = make()
        again = await provider.open(request(name="It has another name now"))
        assert again == first
        assert again.path.is_absolute()
        assert str(again) == str(again.path)
        assert (again.path / "work.txt").read_text(encoding="utf-8") == "work"
        await provider.close(again, AgentOutcome.SUCCEEDED)

    async def test_what_will_be_given_can_be_said_before(self, make: ProviderMaker) -> None:
        provider, asked = make(), request()
        expected = provider.preview(APP, asked.task)
        assert not expected.path.exists()
        assert await provider.find(APP) == []
        given = await provider.open(asked)
        assert given == expected == provider.preview(APP, asked.task)
        await provider.close(given, None)

    async def test_two_tasks_and_two_apps_have_folders_of_their_own(
        self, make: ProviderMaker
    ) -> None:
        provider = make()
        opened = [
            await provider.open(r) for r in (request("1"), request("2"), request("1", app="other"))
        ]
        assert len({w.path for w in opened}) == 3
        (opened[0].path / "mine").touch()
        assert not any((w.path / "mine").exists() for w in opened[1:])
        for workspace in opened:
            await provider.close(workspace, None)

    async def test_no_id_shares_a_folder_or_leads_elsewhere(self, make: ProviderMaker) -> None:
        provider = make()
        home = (await _used(provider, "work.txt", None, "home")).path
        seen: set[str] = set()
        for task_id in ODD_IDS:
            workspace = await provider.open(request(task_id, name=task_id))
            path = workspace.path
            assert path == path.resolve()
            assert path.parent.parent == home.parent.parent, task_id
            assert path.name == home.name
            assert str(path).casefold() not in seen, task_id
            seen.add(str(path).casefold())
            await provider.close(workspace, AgentOutcome.SUCCEEDED)
        assert {f.task_id for f in await make().find(APP)} == {*ODD_IDS, "home"}

    async def test_who_asks_for_a_folder_in_use_waits(self, make: ProviderMaker) -> None:
        provider, other = make(), make()
        first = await provider.open(request())
        waiting = asyncio.create_task(other.open(request()))
        await asyncio.wait([waiting], timeout=0.5)
        assert not waiting.done()
        await provider.close(first, AgentOutcome.SUCCEEDED)
        second = await asyncio.wait_for(waiting, 30)
        assert second == first
        await other.close(second, AgentOutcome.SUCCEEDED)

    async def test_who_gives_up_waiting_holds_nothing(self, make: ProviderMaker) -> None:
        provider, other = make(), make()
        first = await provider.open(request())
        waiting = asyncio.create_task(other.open(request()))
        await asyncio.wait([waiting], timeout=0.2)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=30)
        assert waiting.cancelled()
        await provider.close(first, None)
        await other.close(await asyncio.wait_for(other.open(request()), 30), None)

    async def test_what_is_found_says_who_has_it(self, make: ProviderMaker) -> None:
        provider = make()
        assert await provider.find(APP) == []
        workspace = await provider.open(request())
        (found,) = await make().find(APP)
        assert (found.task_id, found.task_name) == ("1", "Fix it")
        assert (found.path, found.branch) == (workspace.path, workspace.branch)
        assert found.in_use
        assert found.kept
        await provider.close(workspace, AgentOutcome.SUCCEEDED)
        (found,) = await make().find(APP)
        assert not found.in_use
        assert not found.is_abandoned
        assert await provider.find("other") == []

    async def test_a_folder_in_use_is_not_removed_even_by_force(self, make: ProviderMaker) -> None:
        provider = make()
        workspace = await provider.open(request())
        with pytest.raises(WorkspaceError, match="in use"):
            await make().remove(request(), force=True)
        assert workspace.path.is_dir()
        await provider.close(workspace, None)

    async def test_work_that_is_nowhere_else_is_removed_by_force_only(
        self, make: ProviderMaker
    ) -> None:
        provider = make()
        workspace = await _used(provider, "work.txt", AgentOutcome.SUCCEEDED)
        (found,) = await provider.find(APP)
        assert found.kept
        with pytest.raises(WorkspaceError, match="is kept"):
            await provider.remove(request())
        assert (workspace.path / "work.txt").exists()
        await provider.remove(request(), force=True)
        assert not workspace.path.exists()
        assert await provider.find(APP) == []
        again = await provider.open(request())
        assert again == workspace
        assert not (again.path / "work.txt").exists()
        await provider.close(again, None)

    async def test_what_links_lead_to_is_not_removed(
        self, make: ProviderMaker, tmp_path: Path
    ) -> None:
        provider = make()
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "file").touch()
        workspace = await provider.open(request())
        (workspace.path / "link").symlink_to(precious)
        sealed = workspace.path / "sealed"
        sealed.mkdir()
        (sealed / "file").touch()
        sealed.chmod(0o500)
        await provider.close(workspace, None)
        await provider.remove(request(), force=True)
        assert not workspace.path.exists()
        assert (precious / "file").exists()

    async def test_a_folder_that_became_a_link_is_not_given(
        self, make: ProviderMaker, tmp_path: Path
    ) -> None:
        provider = make()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "file").touch()
        workspace = await provider.open(request())
        workspace.path.rename(workspace.path.with_name("moved"))
        workspace.path.symlink_to(elsewhere)
        with suppress(WorkspaceError):  # what is there is not ours to keep
            await provider.close(workspace, None)
        again = await provider.open(request())
        assert again.path == again.path.resolve()
        assert not (again.path / "file").exists()
        await provider.close(again, None)
        assert [f.name for f in elsewhere.iterdir()] == ["file"]

    async def test_a_removal_of_what_is_not_there_is_none(self, make: ProviderMaker) -> None:
        await make().remove(request("missing"))
        await make().remove(request("../.."), force=True)


async def _used(
    provider: WorkspaceProvider, file: str, outcome: AgentOutcome | None, task_id: str = "1"
) -> Workspace:
    """Have an attempt leave a file."""
    workspace = await provider.open(request(task_id))
    (workspace.path / file).write_text("work", encoding="utf-8")
    await provider.close(workspace, outcome)
    return workspace
