"""Approval gates: who may say yes, what a no does, and where they are refused."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.exceptions import Abort
from prefect.states import Pending, Running

from athanore import AgentDispatcher, MemoryAdapter
from athanore.errors import (
    ConfigurationError,
    DispatchError,
    InvalidAnswerError,
    QuestionClosedError,
    TaskNotFoundError,
)
from athanore.launch.prefect import prefect_access
from athanore.models import Task
from athanore.processes import identity
from athanore.runs.kept import questions
from athanore.runs.records.record import Holder
from athanore.runs.states import StateName
from athanore.services.people import approvals
from athanore.services.status import dry_run
from tests.asking_site import Asking
from tests.harness import prompt
from tests.memory_store import no_events
from tests.rules_site import Site

__all__ = ["no_events"]


def access(site: Site) -> Any:
    """The store of a site, as use cases take it that also ask the board."""
    return SimpleNamespace(client=lambda: nullcontext(site.client))


async def gated(**options: Any) -> Asking:
    """A site whose run has claimed its task, and waits for an approval."""
    site = Asking(approve_before="start", **options)
    run = await site.put(await site.dispatched(), Pending(), Running())
    site.board.move_task(site.task_id, "In Progress")
    site.run = await site.noted(run, Holder("here", identity.process()))
    with pytest.raises(Abort):
        await site.before_agent(site.run)
    (site.question,) = await approvals.waiting(site.client, site.app)
    return site


async def test_nothing_starts_until_an_operator_says_yes() -> None:
    site = await gated()
    assert questions.waits_for(await site.now()) == site.question.id
    assert f"Waits for an approval: athanore approve {site.task_id} (or athanore reject)" in (
        site.comments
    )
    await site.client.resume_flow_run(site.run.id)  # by force
    with pytest.raises(Abort):
        await site.begins()
    await approvals.approve(access(site), site.app, site.task_id, "eve")
    assert await site.begins() is None
    assert await approvals.waiting(site.client, site.app) == []
    with pytest.raises(DispatchError, match="waits for no approval"):
        await approvals.approve(access(site), site.app, site.task_id, "eve")


async def test_what_a_task_is_called_is_understood_and_an_unknown_one_is_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = await gated()
    with pytest.raises(TaskNotFoundError, match=rf"'login'.*{site.task_id!r}"):
        await approvals.approve(access(site), site.app, "login", "eve")
    whole = site.board.get_task

    def get_task(task_id: str) -> Task:
        return whole(site.task_id if task_id == "ENG-12" else task_id)

    monkeypatch.setattr(site.board, "get_task", get_task)
    done = await approvals.reject(access(site), site.app, "ENG-12", "eve", "not now")
    assert (done.task_id, approvals.is_yes(done)) == (site.task_id, False)


async def test_what_is_asked_in_place_of_what_was_shown_is_not_answered() -> None:
    site = await gated()
    parts = (access(site), site.app, site.task_id, "eve")
    with pytest.raises(QuestionClosedError, match=f"another approval .* {site.question.id}: May"):
        await approvals.approve(*parts, "feedbeef00")
    with pytest.raises(QuestionClosedError, match="another approval"):
        await approvals.reject(*parts, "no", "feedbeef00")
    assert (await approvals.approve(*parts, site.question.id)).id == site.question.id


async def test_a_reason_that_is_too_long_is_refused_and_not_cut() -> None:
    site = await gated()
    parts = (access(site), site.app, site.task_id, "eve")
    with pytest.raises(InvalidAnswerError, match=r"at most 4000 characters, .* has 4001\.$"):
        await approvals.reject(*parts, "x" * 4001)
    done = await approvals.reject(*parts, "x" * 4000)
    assert done.ending is not None and done.ending.reason == "x" * 4000


@pytest.mark.parametrize("target", [None, "Elsewhere"])
async def test_a_task_that_is_not_approved_is_put_aside_with_the_reason(
    target: str | None,
) -> None:
    site = await gated(rejected_queue=target)
    await approvals.reject(access(site), site.app, site.task_id, "eve", "not this week")
    state = await site.begins()
    assert (state.type, state.name) == (StateType.CANCELLED, StateName.REJECTED)
    assert state.message == "Not approved by eve: not this week"
    assert site.place == (target or "In Progress")
    assert any("by eve: no (not this week)" in text for text in site.comments)


async def test_a_dry_run_counts_no_agent_that_waits_for_an_approval() -> None:
    site = Site(approve_before="start")
    (planned,) = await dry_run.plan(site.app)
    assert (planned.route, planned.starts) == (site.route.name, False)
    assert "wait for an approval" in planned.says
    (planned,) = await dry_run.plan(Site().app)
    assert planned.starts


async def test_a_no_on_prefects_page_is_told_on_the_card() -> None:
    site = await gated(rejected_queue="Elsewhere")
    await site.client.resume(site.run.id, {"answer": "no", "by": "eve"})
    assert (await site.begins()).name == StateName.REJECTED
    assert f"Answer to question {site.question.id} by eve: no" in site.comments


def app(monkeypatch: pytest.MonkeyPatch, auth: str, **options: Any) -> AgentDispatcher:
    monkeypatch.setenv("ATHANORE_API_AUTH", auth)
    monkeypatch.setenv("ATHANORE_API_KEY", "operators-key-of-the-test")
    made = AgentDispatcher("true", name="gates", queue_backend=MemoryAdapter(["Todo"]))
    made.route("Todo", approve_before="start", **options)(prompt)
    return made


@pytest.mark.parametrize(
    ("auth", "is_open", "refusal"),
    [("open", False, "asks for no tokens"), ("token", True, "in Prefect"), ("token", False, None)],
)
async def test_gates_that_agents_could_open_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, auth: str, is_open: bool, refusal: str | None
) -> None:
    async def answer(url: str, host: str | None = None) -> bool:
        return is_open

    monkeypatch.setattr(prefect_access, "is_open", answer)
    url = "http://127.0.0.1:9/api"
    await prefect_access.check_gates(app(monkeypatch, auth, approve_insecurely=True), url)
    if refusal is None:
        await prefect_access.check_gates(app(monkeypatch, auth), url)
        return
    with pytest.raises(ConfigurationError, match=refusal):
        await prefect_access.check_gates(app(monkeypatch, auth), url)


async def test_an_approval_of_which_nobody_was_told_is_told_when_it_is_asked_for_again() -> None:
    """The worker was lost, or Prefect went away, when it was just kept."""
    site = await gated()
    said = f"Waits for an approval: athanore approve {site.task_id} (or athanore reject)"
    await questions.unlist(site.client, site.question.id)
    for _ in range(2):
        with pytest.raises(Abort):
            await site.begins()
    assert site.comments.count(said) == 2
    assert [q.id for q in await approvals.waiting(site.client, site.app)] == [site.question.id]
