"""Endpoints of questions: agents ask, people answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, status
from prefect.client.schemas.objects import FlowRun
from pydantic import Field

from athanore.api.models import RequestModel, Visible, Words
from athanore.api.problems import Problem, documented
from athanore.api.security.auth import Caller, CallerDep, Role
from athanore.api.service import Service, ServiceDep, TaskIdDep
from athanore.runs import store
from athanore.runs.kept.questions import Question
from athanore.runtime.routes.route_registry import called
from athanore.services.people import approvals, questions
from athanore.services.people.questions import LONGEST_ANSWER, LONGEST_WAIT, Asked, ask, view
from athanore.services.showing.views import QuestionView

router = APIRouter(tags=["questions"])


class QuestionRequest(RequestModel):
    """What an agent asks people."""

    question: Visible = Field(
        max_length=2000, description="All that a person needs to know to answer it."
    )
    choices: list[Annotated[Visible, Field(max_length=100)]] = Field(
        default_factory=list[str],
        max_length=20,
        description="One of these is the answer; else any text is.",
    )
    answer_schema: dict[str, Any] | None = Field(
        default=None, description="The JSON schema of an answer that is no text. Without patterns."
    )
    wait_s: float = Field(
        default=0, ge=0, le=LONGEST_WAIT, description="Wait so many seconds for the answer."
    )


class AnswerRequest(RequestModel):
    """What a person answers."""

    answer: Any = Field(description="A text; or what the question's schema asks for.")
    by: Words = Field(default="", max_length=100, description="Who answers, for people.")


type QuestionId = Annotated[str, Path(max_length=64)]
type Wait = Annotated[
    float, Query(ge=0, le=LONGEST_WAIT, description="Wait so many seconds for an answer.")
]


@router.post(
    "/tasks/{task_id:id}/questions",
    status_code=status.HTTP_201_CREATED,
    responses=documented(404, 409),
)
async def ask_question(
    task_id: TaskIdDep, body: QuestionRequest, service: ServiceDep, caller: CallerDep
) -> QuestionView:
    """Ask people about a task that an agent works on.

    The same question again is the same one, with the answer that it has. If the answer is
    `pending`, the agent may ask again to wait longer, or end: then its run is suspended, and an
    agent goes on when there is an answer. 409: no agent works on the task.
    """
    run = await _run_of(service, caller, task_id)
    async with service.prefect.client() as client:
        routes = await service.app.routes.read(client)
    known = called(routes, store.route_name(run))
    asked = Asked(body.question, tuple(body.choices), body.answer_schema)
    route = None if known is None else known.route
    question = await ask(service.prefect, service.app, route, run, asked)
    return await _waited(service, caller, question, body.wait_s)


@router.get("/tasks/{task_id:id}/questions", responses=documented(404))
async def list_questions_of_task(task_id: TaskIdDep, service: ServiceDep) -> list[QuestionView]:
    """List what agents have asked in the newest run of a task, and what was answered."""
    found = await service.runs.of_task(task_id)
    if found.newest is None:
        await service.task(task_id)
        return []
    async with service.prefect.client() as client:
        return [view(q) for q in await questions.all_of_run(client, found.newest.id)]


@router.get("/questions")
async def list_questions(service: ServiceDep) -> list[QuestionView]:
    """List all questions that wait for a person, the oldest first."""
    async with service.prefect.client() as client:
        return [view(q) for q in await questions.open_questions(client, service.app)]


@router.get("/questions/{question_id:id}", responses=documented(404))
async def get_question(
    question_id: QuestionId, service: ServiceDep, caller: CallerDep, wait_s: Wait = 0
) -> QuestionView:
    """Read a question, and wait for its answer; an agent also reads its own that is answered."""
    async with service.prefect.client() as client:
        if caller.run_id is None:
            found = await questions.find(client, service.app, question_id)
        else:
            found = await questions.of_run(client, caller.run_id, question_id)
    return await _waited(service, caller, found, wait_s)


@router.post("/questions/{question_id:id}/answer", responses=documented(403, 404, 409))
async def answer_question(
    question_id: QuestionId, body: AnswerRequest, service: ServiceDep, caller: CallerDep
) -> QuestionView:
    """Answer a question. A run that waits for it goes on.

    Not for agents, and an approval only for operators. 409: it is answered already, or
    nobody waits for it any more.
    """
    refuse_agents(caller)
    by = _name(caller, body.by)
    async with service.prefect.client() as client:
        found = await questions.find(client, service.app, question_id)
        if found.is_approval and caller.role is Role.PERSON:
            raise Problem(
                403,
                "for-operators",
                "Approvals are given with the operators' key, and not with one of `athanore key`: "
                f"athanore approve {found.task_id}",
            )
        done = await questions.answer(client, service.app, found, body.answer, by)
    return _changed(service, done)


class ApprovalRequest(RequestModel):
    """Who says yes."""

    by: Words = Field(default="", max_length=100, description="Who approves, for people.")
    question: str = Field(
        default="",
        max_length=64,
        description="The id of the question that was shown, or the commit that it is about: if the "
        "task waits for another one by now, that is not answered.",
    )


class RejectionRequest(ApprovalRequest):
    """Who says no, and why."""

    reason: Words = Field(default="", max_length=LONGEST_ANSWER, description="Shown on the task.")


@router.post("/tasks/{task_id:id}/approve", responses=documented(403, 404, 409))
async def approve_task(
    task_id: TaskIdDep, body: ApprovalRequest, service: ServiceDep, caller: CallerDep
) -> QuestionView:
    """Say yes to a task that waits for an approval (`approve_before`).

    An agent starts on it, or what was committed for it is published.

    For operators. 409: the task waits for none, or for another one than `question`.
    """
    refuse_agents(caller)
    parts = (service.prefect, service.app, task_id, _name(caller, body.by))
    return _changed(service, await approvals.approve(*parts, body.question))


@router.post("/tasks/{task_id:id}/reject", responses=documented(403, 404, 409))
async def reject_task(
    task_id: TaskIdDep, body: RejectionRequest, service: ServiceDep, caller: CallerDep
) -> QuestionView:
    """Say no to a task that waits for an approval; it goes to `rejected_queue`.

    Of one that was to be published, and without a `rejected_queue`, an agent is told the `reason`
    and goes on.

    For operators. 409: the task waits for none, or for another one than `question`.
    """
    refuse_agents(caller)
    parts = (service.prefect, service.app, task_id, _name(caller, body.by))
    return _changed(service, await approvals.reject(*parts, body.reason, body.question))


def _name(caller: Caller, by: str) -> str:
    return by.strip() or caller.key_name or _WHO.get(caller.role, "somebody")


def _changed(service: Service, done: Question) -> QuestionView:
    service.runs.changed(done.task_id)
    service.snapshots.outdated()
    return view(done)


_WHO = {Role.OPERATOR: "an operator", Role.ANYBODY: "the task API"}


def refuse_agents(caller: Caller) -> None:
    """Refuse an agent what is for people, also where nobody needs a token.

    Raises:
        Problem: 403.
    """
    if caller.role is Role.AGENT:
        raise Problem(
            403,
            "for-people",
            "Agents neither answer questions nor approve anything: a person does, with the "
            "operators' key.",
        )


async def _waited(
    service: Service, caller: Caller, question: Question, seconds: float
) -> QuestionView:
    if seconds <= 0 or question.ending is not None:
        async with service.prefect.client() as client:
            return view(await questions.current(client, service.app, question))

    def is_alive() -> None:
        routes = service.app.routes.remembered()
        if caller.run_id is not None and caller.task_id is not None:
            service.activity.note(routes, caller.route or "", caller.run_id, caller.task_id)

    return view(await questions.wait(service.prefect, service.app, question, seconds, is_alive))


async def _run_of(service: Service, caller: Caller, task_id: str) -> FlowRun:
    """The run whose agent asks.

    Raises:
        Problem: 409, there is none.
    """
    if caller.run_id is not None and caller.task_id == task_id:
        async with service.prefect.client() as client:
            return await client.read_run(caller.run_id)
    await service.task(task_id)
    known = await service.runs.of_task(task_id, fresh=True)
    if known.active is None or known.active.state_type not in store.WORKING:
        raise Problem(409, "no-agent", f"No agent works on task {task_id!r}, so nobody asks.")
    return known.active
