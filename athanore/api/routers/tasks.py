"""Endpoints of tasks: what an agent needs for its work."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response, status

from athanore.api.events.progress import Progress
from athanore.api.memory.idempotency import IdempotencyKey
from athanore.api.models import (
    CancelRequest,
    CommentModel,
    CommentRequest,
    DispatchedModel,
    DispatchRequest,
    ExplanationModel,
    ListedTaskModel,
    MoveRequest,
    ProgressRequest,
    RequeueRequest,
    ResultModel,
    ResultRequest,
    RunModel,
    RunRecordModel,
    TaskModel,
    TaskRequest,
    TaskUpdate,
)
from athanore.api.prefect.agent_runs import dispatched_model, run_model, run_record
from athanore.api.problems import Problem, documented
from athanore.api.security.auth import Caller, CallerDep, Role
from athanore.api.service import ServiceDep, TaskIdDep
from athanore.runs import store
from athanore.services import tasks
from athanore.services.status import explaining

router = APIRouter(tags=["tasks"])


@router.get("/tasks", response_model=list[ListedTaskModel], responses=documented(404))
async def list_tasks(
    service: ServiceDep,
    queue: Annotated[
        list[str] | None, Query(description="Only tasks of this queue; may be repeated.")
    ] = None,
) -> Response:
    """List the open tasks, queue by queue, in board order, and why each of the first 2000 waits."""
    body = await service.task_list.json(tuple(dict.fromkeys(queue)) if queue else None)
    return Response(body, media_type="application/json")


@router.post("/tasks", status_code=status.HTTP_201_CREATED, responses=documented(404))
async def create_task(
    body: TaskRequest,
    service: ServiceDep,
    caller: CallerDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> TaskModel:
    """Create a task; if its queue is watched, an agent is dispatched at once."""

    async def create() -> TaskModel:
        made = await tasks.create(
            service.prefect, service.app, body.queue_name, body.name, body.description
        )
        return await service.whole(made.task, made.run)

    scope = f"create by {caller.role} {caller.run_id or caller.key_name}"
    created = await service.once.do(idempotency_key, scope, body, create)
    response.headers["Location"] = f"/tasks/{quote(created.id, safe='')}"
    return created


@router.post(
    "/tasks/{task_id:id}/comments",
    status_code=status.HTTP_201_CREATED,
    responses=documented(404),
)
async def add_comment(
    task_id: TaskIdDep,
    body: CommentRequest,
    service: ServiceDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKey = None,
) -> CommentModel:
    """Post a comment on a task."""
    text = service.redactor.text(body.comment)

    async def comment() -> CommentModel:
        await service.comment_once(caller, task_id, idempotency_key, text)
        return CommentModel(text=text)

    return await service.once.do(idempotency_key, f"comment on {task_id}", body, comment)


@router.post(
    "/tasks/{task_id:id}/progress",
    status_code=status.HTTP_202_ACCEPTED,
    responses=documented(404, 409),
)
async def report_progress(
    task_id: TaskIdDep, body: ProgressRequest, service: ServiceDep, caller: CallerDep
) -> ProgressRequest:
    """Say how far the work on a task is: shown on its card, and in Prefect with its agent run.

    At most one report a second is written, the newest. 409: no agent works on the task.
    """
    report = body.model_copy(update={"text": service.redactor.text(body.text)})
    run_id = caller.run_id if caller.task_id == task_id else None
    if run_id is None:
        await service.task(task_id)
        known = await service.runs.of_task(task_id, fresh=True)
        if known.active is None or known.active.state_type not in store.WORKING:
            raise Problem(
                409, "no-agent", f"No agent works on task {task_id!r}, so there is no progress."
            )
        run_id = known.active.id
    service.progress.take(Progress(run_id, task_id, report.percent, report.text))
    return report


@router.post("/tasks/{task_id:id}/result", responses=documented(404, 409))
async def hand_in_result(
    task_id: TaskIdDep, body: ResultRequest, service: ServiceDep, caller: CallerDep
) -> ResultModel:
    """Hand in what the work on a task has come to, as the `output` of the route says.

    It is checked at once: 422 says which fields are wrong, so that the agent can mend them. The
    last result that was taken counts. 409: no agent works on the task, or its route takes none.
    """
    return await service.results.take(caller, task_id, body.result)


@router.get("/tasks/{task_id:id}/result", responses=documented(404))
async def get_result(task_id: TaskIdDep, service: ServiceDep) -> ResultModel:
    """Read what the newest agent of a task that has handed in a result, has handed in."""
    await service.task(task_id)
    return await service.results.newest(task_id)


@router.post("/tasks/{task_id:id}/move", responses=documented(404))
async def move_task(
    task_id: TaskIdDep, body: MoveRequest, service: ServiceDep, caller: CallerDep
) -> TaskModel:
    """Move a task to another queue; if that is watched, the next agent is dispatched at once.

    An agent that moves its own task ends its work by that: the next agent starts when it is done.
    It is known by its token. A task that somebody else moves is taken away from its agent, which is
    stopped within 15 seconds, on most boards within one.
    """
    note_own = None
    if caller.task_id == task_id and caller.run_id is not None and caller.start is not None:
        note_own = partial(service.moves.note, caller.run_id, caller.start, body.target_queue)
    moved = await tasks.move(
        service.prefect,
        service.app,
        task_id,
        body.target_queue,
        caller.role,
        caller.run_id,
        note_own,
    )
    return await service.whole(moved.task, moved.run)


@router.post(
    "/tasks/{task_id:id}/dispatch",
    status_code=status.HTTP_202_ACCEPTED,
    responses=documented(404, 409),
)
async def dispatch_task(
    task_id: TaskIdDep, body: DispatchRequest, service: ServiceDep
) -> DispatchedModel:
    """Have an agent work on a task now, instead of at the next poll of its queue.

    A run that waits already is returned as it is. 409: the task's queue is not watched, or an agent
    works on the task.
    """
    done = await service.runs.dispatch(await service.task(task_id), body.queue_name)
    service.snapshots.outdated()
    return dispatched_model(done)


@router.post(
    "/tasks/{task_id:id}/cancel",
    status_code=status.HTTP_202_ACCEPTED,
    responses=documented(404, 409),
)
async def cancel_task(
    task_id: TaskIdDep, body: CancelRequest, service: ServiceDep, caller: CallerDep
) -> RunModel:
    """Stop the agent of a task. The task goes where its route says (`on_cancel`), or stays.

    The agent is stopped a moment after the answer. 409: no agent works on the task or waits to. A
    task that stays in a watched queue is dispatched again by the next poll: move it away as well.
    """
    task = await service.task(task_id)
    named = "" if caller.role is Role.AGENT else body.by.strip()
    run = await service.runs.cancel(task, named or _name_of(caller), body.reason)
    service.snapshots.outdated()
    return run_model(run)


@router.post(
    "/tasks/{task_id:id}/requeue",
    status_code=status.HTTP_202_ACCEPTED,
    responses=documented(404, 409),
)
async def requeue_task(
    task_id: TaskIdDep, body: RequeueRequest, service: ServiceDep, caller: CallerDep
) -> DispatchedModel:
    """Give a dead letter a fresh start: back to its queue, with all its attempts.

    For operators where tokens are required. 409: a run of the task waits or works, or the task is
    no dead letter and no `queue_name` was sent.
    """
    task = await service.task(task_id)
    named = "" if caller.role is Role.AGENT else body.by.strip()
    done = await service.runs.requeue(task, named or _name_of(caller), body.queue_name)
    service.snapshots.outdated()
    return dispatched_model(done)


@router.get("/tasks/{task_id:id}/runs", responses=documented(404))
async def list_runs(task_id: TaskIdDep, service: ServiceDep) -> list[RunRecordModel]:
    """List the newest agent runs of a task, past and present, the newest first."""
    await service.shown(task_id)
    return [run_record(r) for r in await service.runs.history(task_id)]


@router.get("/tasks/{task_id:id}", responses=documented(404))
async def get_task(task_id: TaskIdDep, service: ServiceDep) -> TaskModel:
    """Read a task, whole: description, comments, checklist, and the agent run if there is one.

    What is said of its runs, and of a task on a remote board, was true at most two seconds ago;
    after a change through this API it is as it is now.
    """
    return await service.whole(await service.shown(task_id), fresh=False)


@router.get("/tasks/{task_id:id}/explanation", responses=documented(404))
async def explain_task(task_id: TaskIdDep, service: ServiceDep) -> ExplanationModel:
    """Say why a task is where it is: what happens now, what it waits for, what changes that."""
    task = await service.task(task_id)
    async with service.prefect.client() as client:
        seen = await explaining.explain(client, service.app, task)
    return ExplanationModel(
        task_id=task.id,
        task_name=task.name,
        queue_name=task.queue_name,
        route=seen.route,
        reason=seen.reason,
        until=seen.until,
        commands=list(seen.commands),
    )


@router.patch("/tasks/{task_id:id}", responses=documented(404))
async def update_task(task_id: TaskIdDep, body: TaskUpdate, service: ServiceDep) -> TaskModel:
    """Set fields of a task; those that are not sent stay as they are."""
    async with tasks.naming_open_tasks(service.app):
        task = await service.board.update(task_id, **body.cleaned(service.redactor.text))
    return await service.whole(task)


def _name_of(caller: Caller) -> str:
    """Who calls, for comments."""
    match caller.role:
        case Role.OPERATOR:
            return "an operator"
        case Role.AGENT:
            return "an agent"
        case Role.PERSON:
            return caller.key_name
        case _:
            return "the task API"
