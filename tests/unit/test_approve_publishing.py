"""`approve_before="publish"`: what is pushed, after whose yes, and what a no does."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import Abort
from prefect.states import Pending, Running

from athanore import AgentOutcome, AgentResult, DirectoryWorkspace, GitWorkspace
from athanore.errors import QuestionClosedError, RouteError
from athanore.flows import asking
from athanore.flows.attempts import answers
from athanore.flows.ends.outcome import Conclusion
from athanore.flows.ends.publishing import ApprovalNeededError
from athanore.processes import identity
from athanore.runs.kept import questions
from athanore.runs.kept.questions import Question
from athanore.runs.records.record import Holder, record_of
from athanore.runs.records.run_log import RunLog
from athanore.runs.states import StateName
from athanore.runtime.leases.local_runs import RunControl
from athanore.services import runs
from athanore.services.people import approvals
from athanore.workspaces.base import WorkspaceRequest
from tests.asking_site import Asking
from tests.memory_store import no_events
from tests.repositories import Repository, commit, git
from tests.rules_site import LOG
from tests.unit.test_approvals import access

__all__ = ["no_events"]

SUCCESS = AgentResult(AgentOutcome.SUCCEEDED)


class Publishing(Asking):
    """A site whose agent has committed something, in a folder of its own."""

    repository: Repository

    @classmethod
    async def begun(cls, folder: Path, *, share: Path | None = None, **options: Any) -> Publishing:
        repository = Repository(folder / "toy.git")
        site = cls(
            **{"publish": "branch", "approve_before": "publish"} | options,
            workspace=GitWorkspace(repository.path, root=folder / "here", share=share),
        )
        site.repository = repository
        site.run = await site.put(await site.dispatched(), Pending())
        await site.starts()
        return site

    @property
    def branch(self) -> str:
        return f"athanore/{self.task_id}-fix-it"

    def pushed(self) -> str:
        """The newest commit of the branch where it is published; "" if it is not."""
        where = self.repository.path
        return git(where, "for-each-ref", "--format=%(objectname)", f"refs/heads/{self.branch}")

    async def starts(self) -> None:
        """A start of the run says who it is."""
        run = await self.put(await self.now(), Running())
        self.run = await self.noted(run, Holder("here", identity.process()))
        self.app.local_runs.hold(run.id, "here")

    async def agent_commits(self, *names: str) -> str:
        """An agent works in the folder, and succeeds; returns its newest commit."""
        self.board.move_task(self.task_id, "In Progress")

        async def run(*_: object) -> AgentResult:
            return SUCCESS

        provider = self.route.workspace
        assert isinstance(provider, GitWorkspace)
        task = self.board.get_task(self.task_id)
        request = WorkspaceRequest(self.app.name, task, run, print, is_published=True)
        workspace = await provider.open(request)
        for name in names:
            commit(workspace.path, name, f"{name}\n")
        await provider.close(workspace, AgentOutcome.SUCCEEDED)
        return git(workspace.path, "rev-parse", "HEAD")

    async def ends(self) -> State[Any] | None:
        """What the start comes to; None if the run is suspended."""
        log = self.open_log(await self.now())
        kept = log.kept()
        conclusion = Conclusion(self.app, self.route, log, self.task_id, LOG)
        try:
            return await (conclusion.ended(SUCCESS) if kept is None else conclusion.deliver(kept))
        except ApprovalNeededError as exc:
            await self._suspended(log, exc)
            return None
        finally:
            self.app.local_runs.forget(self.run.id)

    async def _suspended(self, log: RunLog, error: ApprovalNeededError) -> None:
        handle = RunControl(self.run.id, self.task_id, self.run)
        parts = (self.client, self.app, self.route, log, error.question, handle)
        with pytest.raises(Abort):
            await asking.suspend(*parts, {}, LOG, error.here)
        (self.question,) = await approvals.waiting(self.client, self.app)
        assert questions.waits_for(await self.now()) == self.question.id

    async def goes_on(self) -> State[Any] | None:
        await self.starts()
        return await self.ends()

    async def yes(self) -> None:
        await approvals.approve(access(self), self.app, self.task_id, "eve")

    async def no(self, words: str = "") -> Question:
        return await approvals.reject(access(self), self.app, self.task_id, "eve", words)


async def waits(folder: Path, *names: str, **options: Any) -> Publishing:
    """A site whose run waits for the approval of what its agent has committed."""
    site = await Publishing.begun(folder, **options)
    await site.agent_commits(*(names or ("one.txt",)))
    assert await site.ends() is None
    return site


@pytest.mark.parametrize("queue", [pytest.param(None, marks=pytest.mark.nightly), "Elsewhere"])
async def test_nothing_is_pushed_until_an_operator_says_yes(
    tmp_path: Path, queue: str | None
) -> None:
    site = await waits(tmp_path, "one.txt", "two.txt", waiting_queue=queue)
    assert site.place == (queue or "In Progress")
    await site.sweep()
    await site.client.resume_flow_run(site.run.id)  # by force
    assert await site.goes_on() is None
    assert site.pushed() == ""
    await site.yes()
    state = await site.goes_on()
    assert state is not None and state.type is StateType.COMPLETED
    assert site.place == "Done"
    assert site.pushed() == site.question.commit
    assert any(c.startswith(f"Published: branch {site.branch!r} at") for c in site.comments)
    record = record_of(await site.now())
    assert (record.question, record.place, record.attempt) == ("", "", 1)
    assert not await site.listed()


async def test_the_question_says_what_is_published_and_a_yes_counts_for_files_of_the_ci_too(
    tmp_path: Path,
) -> None:
    site = await waits(tmp_path, "one.txt", ".github/workflows/ci.yml", allow_ci_changes=True)
    text = site.question.text
    head = f"May the branch {site.branch!r} be published as it is at {site.question.commit[:10]}?"
    assert text.startswith(f"{head}\nIt changes .github/workflows/ci.yml, which may have other")
    assert "\n\n2 commits:\n- Write one.txt\n- Write .github/workflows/ci.yml\n\n" in text
    assert " one.txt                  | 1 +\n 2 files changed, 2 insertions(+)" in text
    command = text.partition("To look at it: ")[2].rpartition(" (on ")[0]
    assert "+.github/workflows/ci.yml" in git(tmp_path, *shlex.split(command)[1:])
    assert any("Waits for an approval: athanore approve" in c and head in c for c in site.comments)
    assert site.pushed() == ""
    await site.yes()
    state = await site.goes_on()
    assert state is not None and state.type is StateType.COMPLETED
    assert site.pushed() == site.question.commit


async def test_after_a_no_with_words_an_agent_goes_on_with_them_on_the_same_branch(
    tmp_path: Path,
) -> None:
    site = await waits(tmp_path, waiting_queue="Elsewhere")
    first = site.question
    await site.no("add a test")
    state = await site.goes_on()
    assert state is not None and state.name == "AwaitingRetry"
    assert state.message == "Not approved by eve: add a test. An agent goes on with it."
    assert (site.place, site.pushed()) == ("Todo", "")
    await site.put(await site.now(), state)
    await site.starts()
    log = site.open_log(await site.now())
    assert (log.kept(), log.attempt, log.attempts_left) == (None, 1, True)
    prompt = await answers.answered(log)
    assert first.commit[:10] in prompt and "\n\n    add a test\n\nGo on in the same" in prompt
    newest = await site.agent_commits("test.txt")
    assert await site.ends() is None
    assert site.question.id != first.id
    for shown in (first.id, first.commit, first.commit[:10]):
        with pytest.raises(QuestionClosedError, match=f"question {site.question.id}: May the"):
            await approvals.approve(access(site), site.app, site.task_id, "eve", shown)
    assert f"athanore approve {site.question.id} (or athanore reject)" in site.comments[-1]
    assert "- Write one.txt\n- Write test.txt" in site.question.text
    await site.yes()
    await site.goes_on()
    assert (site.pushed(), site.place) == (newest, "Done")


@pytest.mark.nightly
async def test_what_another_agent_left_as_it_was_is_asked_for_anew(tmp_path: Path) -> None:
    site = await waits(tmp_path)
    first = site.question
    await site.no("add a test")
    state = await site.goes_on()
    assert state is not None
    await site.put(await site.now(), state)
    await site.starts()
    await site.agent_commits()
    assert await site.ends() is None
    assert (site.question.commit, site.question.ending) == (first.commit, None)
    assert site.question.id != first.id


@pytest.mark.parametrize(
    ("queue", "words"),
    [("Elsewhere", "not this"), pytest.param(None, "", marks=pytest.mark.nightly)],
)
async def test_after_another_no_the_task_is_put_aside(
    tmp_path: Path, queue: str | None, words: str
) -> None:
    site = await waits(tmp_path, rejected_queue=queue)
    await site.no(words)
    state = await site.goes_on()
    assert state is not None and state.name == StateName.REJECTED
    assert state.message == ("Not approved by eve: not this" if words else "Not approved by eve")
    assert (site.place, site.pushed()) == (queue or "In Progress", "")
    assert record_of(await site.now()).is_closed


async def test_what_was_committed_since_is_not_what_was_approved(tmp_path: Path) -> None:
    site = await waits(tmp_path)
    first = site.question
    await site.yes()
    await site.agent_commits("later.txt")
    state = await site.goes_on()
    assert state is not None and state.name == StateName.WAITING_TO_PUBLISH
    assert "which was approved" in (state.message or "")
    assert site.pushed() == ""
    assert await site.goes_on() is None
    assert site.question.id != first.id and "- Write later.txt" in site.question.text


async def test_an_approval_that_comes_to_a_host_without_the_branch_has_an_agent_work_anew(
    tmp_path: Path,
) -> None:
    site = await waits(tmp_path)
    await site.yes()
    vars(site.route)["workspace"] = GitWorkspace(site.repository.path, root=tmp_path / "there")
    state = await site.goes_on()
    assert state is not None and state.name == "AwaitingRetry"
    assert (site.place, site.pushed()) == ("Todo", "")
    assert (
        f"An operator has said yes, but what was committed for task {site.task_id!r} is not"
        in (site.comments[-1])
    )
    await site.put(await site.now(), state)
    await site.starts()
    await site.agent_commits("anew.txt")
    assert await site.ends() is None
    assert "1 commit:\n- Write anew.txt\n" in site.question.text


@pytest.mark.nightly
async def test_where_work_is_shared_another_host_publishes_what_was_approved(
    tmp_path: Path,
) -> None:
    share = tmp_path / "share.git"
    share.mkdir()
    git(share, "init", "-q", "--bare")
    site = await waits(tmp_path, share=share)
    await site.yes()
    vars(site.route)["workspace"] = GitWorkspace(
        site.repository.path, root=tmp_path / "there", share=share
    )
    state = await site.goes_on()
    assert state is not None and state.type is StateType.COMPLETED
    assert site.pushed() == site.question.commit


@pytest.mark.parametrize("words", ["", "add a test"])
async def test_a_task_that_its_agent_has_moved_on_waits_in_progress_and_goes_there_after_a_yes(
    tmp_path: Path, words: str
) -> None:
    site = await Publishing.begun(tmp_path)
    await site.agent_commits("one.txt")
    site.board.move_task(site.task_id, "Next")
    seen = site.board.get_task(site.task_id)  # by a poll of that queue
    assert await site.ends() is None
    assert (site.place, site.comments[-1]) == (
        "In Progress",
        "The task goes to 'Next' when it is published.",
    )
    held = await runs.make_way(site.client, site.app, [seen])
    assert held[site.task_id].id == site.run.id
    await site.sweep()
    assert await site.listed()
    if words:
        await site.no(words)
        await site.goes_on()
        assert (site.place, record_of(await site.now()).goes_to) == ("Todo", "")
        return
    await site.yes()
    state = await site.goes_on()
    assert state is not None and state.type is StateType.COMPLETED
    assert (site.place, site.pushed()) == ("Next", site.question.commit)


async def test_a_person_who_moves_the_task_withdraws_the_question_all_the_same(
    tmp_path: Path,
) -> None:
    site = await Publishing.begun(tmp_path)
    await site.agent_commits("one.txt")
    site.board.move_task(site.task_id, "Next")
    assert await site.ends() is None
    site.board.move_task(site.task_id, "Next")
    seen = site.board.get_task(site.task_id)
    assert await runs.make_way(site.client, site.app, [seen]) == {}
    assert (await site.now()).state_name == StateName.SUPERSEDED
    assert site.pushed() == ""


async def test_a_task_whose_publishing_is_put_off_waits_in_progress_too(tmp_path: Path) -> None:
    site = await Publishing.begun(tmp_path, approve_before=None)
    await site.agent_commits("one.txt")
    site.board.move_task(site.task_id, "Next")
    away = site.repository.path.rename(tmp_path / "away")
    state = await site.ends()
    assert state is not None and state.name == StateName.WAITING_TO_PUBLISH
    assert site.place == "In Progress"
    away.rename(site.repository.path)
    await site.put(await site.now(), state)
    state = await site.goes_on()
    assert state is not None and state.type is StateType.COMPLETED
    assert (site.place, site.pushed() != "") == ("Next", True)


@pytest.mark.nightly
async def test_an_agent_that_has_committed_nothing_is_not_asked_about(tmp_path: Path) -> None:
    site = await Publishing.begun(tmp_path)
    await site.agent_commits()
    state = await site.ends()
    assert state is not None and state.type is StateType.COMPLETED
    assert site.place == "Done"


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({}, 'needs publish="branch" or publish="pull-request"'),
        ({"approve_before": "end"}, "'start' or 'publish'"),
    ],
)
def test_a_gate_before_nothing_is_refused(options: dict[str, Any], wrong: str) -> None:
    space = DirectoryWorkspace("spaces")
    with pytest.raises(RouteError, match=wrong):
        Publishing(**{"approve_before": "publish", "workspace": space} | options)
