"""An attempt in a folder: whose fault it is that there is none, or none is left; what counts."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast, override
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Pending, Running

from athanore import AgentOutcome, AgentResult, GitWorkspace, Workspace
from athanore.errors import PrefectUnavailableError, PublishError
from athanore.flows.attempts.attempt import AgentAttempt
from athanore.flows.attempts.budgets import Purse
from athanore.flows.attempts.transcript import Transcript
from athanore.models import AgentEvent, EventKind, FaultKind
from athanore.models import Task as BoardTask
from athanore.runs.prefect_store import PrefectRunStore
from athanore.runtime.leases.local_runs import RunControl
from athanore.runtime.margins import Margins
from athanore.workspaces.base import FoundWorkspace, WorkspaceRequest
from athanore.workspaces.git.commands import Git
from tests.forges import OnGitHub
from tests.repositories import Repository, commit, git
from tests.rules_site import LOG, PHASES, Site

BRANCH = "athanore/1-fix-it"
SUCCEEDED = AgentResult(AgentOutcome.SUCCEEDED)

type Agent = Callable[[Path], object]


@pytest.fixture(autouse=True)
def no_events() -> Generator[None]:
    EventsWorker.set_client_override(NullEventsClient)
    yield
    EventsWorker.set_client_override(None)


def idle(folder: Path) -> None:
    """Does nothing, and says that it has succeeded."""


class Attempt(AgentAttempt):
    """An attempt whose agent is a function of its folder."""

    agent: Agent = staticmethod(idle)

    @override
    async def _run_agent(
        self, claimed: BoardTask, token: str, transcript: Transcript
    ) -> AgentResult | None:
        assert self._folder.path is not None
        self.agent(self._folder.path)
        return SUCCEEDED


class Place(Site):
    """A site whose route has a workspace, and a run that is at work."""

    async def attempt(self, run: FlowRun, agent: Agent = idle) -> AgentResult | None:
        """Make one start of a run, with an agent; returns what came of it."""
        run = await self.client.read_run(run.id)
        client = cast(PrefectRunStore, self.client)
        book, handle = self.log(run), RunControl(run.id, self.task_id, run)
        purse = Purse(client, self.app, self.route, book, self.task_id)
        transcript = Transcript(LOG, {}, [], self.app.redactor)
        made = Attempt(client, self.app, self.route, book, handle, purse, LOG)
        made.agent = agent
        return await made.perform(self.board.get_task(self.task_id), "token", transcript)


class Odd:
    """A provider of somebody else's that does not keep to the port."""

    def __init__(self, folder: Path, *, at: str, error: Exception) -> None:
        self._folder = folder
        self._at = at
        self._error = error

    async def open(self, request: WorkspaceRequest) -> Workspace:
        if self._at == "open":
            raise self._error
        return Workspace(self._folder)

    async def close(self, workspace: Workspace, outcome: AgentOutcome | None) -> Sequence[str]:
        if self._at == "close":
            raise self._error
        return ()

    def preview(self, app: str, task: BoardTask) -> Workspace:
        return Workspace(self._folder)

    async def find(self, app: str) -> Sequence[FoundWorkspace]:
        return ()

    async def remove(self, request: WorkspaceRequest, *, force: bool = False) -> None:
        return None

    def check(self) -> str | None:
        return None


async def test_a_forge_that_refuses_its_credential_is_a_fault_of_the_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "toy.git")
    with OnGitHub.served(repository.path) as hosting:
        space = GitWorkspace(repository.path, root=tmp_path / "root", forge=hosting.forge)
        place = Place(workspace=space, publish="pull-request")

        def refused(forge: object) -> str:
            raise PublishError("acme/toy on GitHub: the app is not installed there")

        monkeypatch.setattr(type(hosting.forge), "login", property(refused))
        result = await place.attempt(await place.at_work())
    assert result is not None and result.has_fault(FaultKind.ENVIRONMENT)
    assert result.reason == "acme/toy on GitHub: the app is not installed there"


@pytest.mark.parametrize("error", [KeyError("branch"), OSError(28, "No space left on device")])
async def test_a_workspace_that_raises_what_it_may_not_is_a_fault_of_the_set_up(
    tmp_path: Path, error: Exception
) -> None:
    place = Place(workspace=Odd(tmp_path, at="open", error=error))
    result = await place.attempt(await place.at_work())
    assert result is not None and result.has_fault(FaultKind.ENVIRONMENT)
    assert result.reason.startswith(f"Odd raised {type(error).__name__}: ")


@pytest.mark.parametrize("error", [KeyError("branch"), OSError(28, "No space left on device")])
async def test_a_folder_that_cannot_be_closed_loses_no_success(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(workspace=Odd(tmp_path, at="close", error=error))
    result = await place.attempt(await place.at_work())
    assert result is not None and result.succeeded
    assert f"Odd failed; what was left in {tmp_path} is not kept elsewhere." in caplog.messages


async def test_what_the_system_refuses_of_a_folder_is_said_as_a_workspace_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path / "toy.git")
    place = Place(workspace=GitWorkspace(repository.path, root=tmp_path / "root"))

    def full(**_: object) -> str:
        raise OSError(28, "No space left on device", str(tmp_path / "root"))

    monkeypatch.setattr("tempfile.mkdtemp", full)
    result = await place.attempt(await place.at_work())
    assert result is not None and result.has_fault(FaultKind.ENVIRONMENT)
    assert result.reason == f"{tmp_path}/root: No space left on device"


def raises(error: Exception) -> Agent:
    """An agent of whom nothing is heard but an error of what is around it."""

    def agent(folder: Path) -> None:
        raise error

    return agent


async def test_an_error_around_the_agent_is_a_fault_of_the_set_up_and_one_of_prefect_is_not(
    tmp_path: Path,
) -> None:
    repository = Repository(tmp_path / "toy.git")
    place = Place(workspace=GitWorkspace(repository.path, root=tmp_path / "root"))
    run = await place.at_work()
    result = await place.attempt(run, raises(RuntimeError("no loop")))
    assert result is not None and result.has_fault(FaultKind.ENVIRONMENT)
    assert result.reason == "the attempt failed: RuntimeError: no loop"
    for error in (PrefectUnavailableError("away"), ObjectNotFound(Exception("gone"))):
        with pytest.raises(type(error)):
            await place.attempt(run, raises(error))
    with pytest.raises(asyncio.CancelledError):
        await place.attempt(run, raises(cast(Exception, asyncio.CancelledError())))


def without_git(folder: Path) -> None:
    shutil.rmtree(folder / ".git")


def with_alternates(folder: Path) -> None:
    (folder / ".git" / "objects" / "info" / "alternates").write_text("/elsewhere\n")


def corrupt(folder: Path) -> None:
    made = commit(folder, "a.txt", "a")
    tree = git(folder, "rev-parse", f"{made}^{{tree}}")
    (broken := folder / ".git" / "objects" / tree[:2] / tree[2:]).chmod(0o600)
    broken.write_bytes(b"nonsense")


def with_what_git_refuses(folder: Path) -> None:
    blob = git(folder, "rev-parse", "HEAD:README.md")
    planted = b"100644 .git\0" + bytes.fromhex(blob)
    (folder / "tree").write_bytes(planted)
    tree = git(folder, "hash-object", "-t", "tree", "-w", "--literally", "tree")
    git(folder, "update-ref", "HEAD", git(folder, "commit-tree", "-m", "bad", tree))


@pytest.mark.parametrize("broken", [without_git, with_alternates, corrupt, with_what_git_refuses])
@pytest.mark.parametrize("options", [{"expects": "commits"}, {"publish": "branch"}])
async def test_a_folder_that_its_agent_broke_is_a_failure_of_the_task(
    tmp_path: Path, broken: Agent, options: dict[str, str]
) -> None:
    repository = Repository(tmp_path / "toy.git")
    space = GitWorkspace(repository.path, root=tmp_path / "root")
    place = Place(workspace=space, **options)
    run = await place.at_work()
    result = await place.attempt(run, broken)
    assert result is not None and result.has_fault(FaultKind.CHECK) and not result.succeeded
    assert result.counts
    assert result.reason.startswith("the folder cannot be read any more: ")
    again = await place.attempt(run)
    assert again is not None and not again.has_fault(FaultKind.ENVIRONMENT), again


def works(folder: Path) -> None:
    commit(folder, "a.txt", "a")


def of(result: AgentResult | None) -> str:
    """What an attempt came to, in a few words."""
    assert result is not None
    return "succeeded" if result.succeeded else result.reason


NOTHING = f"nothing happened: no commit on the branch {BRANCH!r}"


async def test_commits_of_a_start_that_was_given_back_count(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "toy.git")
    space = GitWorkspace(repository.path, root=tmp_path / "root")
    place = Place(workspace=space, expects="commits")
    run = await place.at_work()

    def is_stopped(folder: Path) -> None:
        works(folder)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await place.attempt(run, is_stopped)
    await place.log(await place.client.read_run(run.id)).give_back()
    again = await place.noted(await place.client.read_run(run.id))
    assert place.log(again).attempt == 1
    assert of(await place.attempt(again)) == "succeeded"


async def test_what_was_committed_before_the_run_counts_in_none_of_its_attempts(
    tmp_path: Path,
) -> None:
    repository = Repository(tmp_path / "toy.git")
    space = GitWorkspace(repository.path, root=tmp_path / "root")
    place = Place(workspace=space, expects="commits")
    first = await place.at_work()
    assert of(await place.attempt(first, works)) == "succeeded"
    await place.put(first, Completed())
    second = await place.at_work("Todo")
    assert of(await place.attempt(second)) == NOTHING
    await place.put(second, *PHASES["retrying"](), Pending(), Running())
    second = await place.noted(await place.client.read_run(second.id))
    assert place.log(second).attempt == 2
    assert of(await place.attempt(second)) == NOTHING
    assert of(await place.attempt(second, works_on)) == "succeeded"
    assert of(await place.attempt(second)) == "succeeded", "commits of all its attempts count"


def works_on(folder: Path) -> None:
    commit(folder, "b.txt", "b")


@pytest.fixture
def limits() -> Generator[None]:
    """What a test does to the limits of this process ends with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing large can be written: the limit stands for a disk that is full."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))


def locked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that was killed has left the lock of a ref in the mirror."""
    (head,) = root.glob("*/mirror.git/refs/athanore/*/*/HEAD")
    head.with_name("HEAD.lock").touch()


def unwritable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror takes no objects."""
    (mirror,) = root.glob("*/mirror.git")
    shutil.rmtree(mirror / "objects")


def without_program(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git was removed from the host."""
    monkeypatch.setenv("PATH", str(root))


def too_slow(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is so slow that no git ends in time."""
    defaults = {**(Git.__call__.__kwdefaults__ or {}), "limit": timedelta(0)}
    monkeypatch.setattr(Git.__call__, "__kwdefaults__", defaults)


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("trouble", [full, locked, unwritable, without_program, too_slow])
@pytest.mark.parametrize("options", [{"expects": "commits"}, {"publish": "branch"}])
async def test_what_is_in_the_way_of_the_host_when_an_agent_has_ended_costs_no_attempt(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Path, pytest.MonkeyPatch], None],
    options: dict[str, str],
) -> None:
    repository = Repository(tmp_path / "toy.git")
    space = GitWorkspace(repository.path, root=tmp_path / "root")
    place = Place(workspace=space, **options)
    run = await place.at_work()
    await place.attempt(run, lambda folder: commit(folder, "a.txt", "a"))

    def agent(folder: Path) -> None:
        commit(folder, "large.txt", os.urandom(300_000).hex())
        trouble(tmp_path / "root", monkeypatch)

    result = await place.attempt(run, agent)
    assert result is not None and result.has_fault(FaultKind.ENVIRONMENT), result
    assert not result.succeeded and not result.counts
    assert "cannot be read" not in result.reason


class Booked(AgentAttempt):
    """An attempt whose agent ends well while its costs are booked, and Prefect is away."""

    is_booked: asyncio.Event

    @override
    def _tried(
        self, work: Callable[[], Awaitable[AgentResult]], results: list[AgentResult]
    ) -> Coroutine[Any, Any, State[None]]:
        async def tried() -> State[None]:
            await self.is_booked.wait()
            results.append(SUCCEEDED)
            return Completed()

        return tried()


async def test_an_agent_that_has_ended_is_not_stopped_while_its_costs_cannot_be_booked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place(stall_timeout=1)
    place.app.margins = Margins(booking=timedelta(milliseconds=10))
    run = await place.at_work()
    client = cast(PrefectRunStore, place.client)
    book, handle = place.log(run), RunControl(run.id, place.task_id, run)
    purse = Purse(client, place.app, place.route, book, place.task_id)
    transcript = Transcript(LOG, {}, [], place.app.redactor)
    is_back, is_booked, write = asyncio.Event(), asyncio.Event(), place.client.add_labels

    async def waits(run_id: UUID, labels: Mapping[str, Any]) -> None:
        is_booked.set()
        await is_back.wait()
        await write(run_id, labels)

    monkeypatch.setattr(place.client, "add_labels", waits)
    transcript.emit(AgentEvent(EventKind.COST, {"cost_usd": 0.5}))
    made = Booked(client, place.app, place.route, book, handle, purse, LOG)
    made.is_booked = is_booked
    task = place.board.get_task(place.task_id)
    with place.app.local_runs.serving_api():
        working = asyncio.create_task(made.perform(task, "token", transcript))
        await asyncio.sleep(2)
        assert not working.done(), "the cost is booked when Prefect is back"
        is_back.set()
        result = await working
    assert result is not None and result.succeeded and handle.reason is None
    assert result.usage["cost_usd"] == 0.5
