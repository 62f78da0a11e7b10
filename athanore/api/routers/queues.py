"""Endpoints of queues."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from fastapi import APIRouter, Response, status

from athanore.api.models import QueueModel, QueueRequest, queue_of
from athanore.api.problems import Problem, documented
from athanore.api.service import ManagedDep, Service, ServiceDep
from athanore.routing.route_options import QUEUE_OPTIONS

router = APIRouter(tags=["queues"])


@router.get("/queues")
async def list_queues(service: ServiceDep) -> list[QueueModel]:
    """List the queues, in board order, with their task counts."""
    return [queue_of(q) for q in await service.board.queues()]


@router.post("/queues", status_code=status.HTTP_201_CREATED, responses=documented(409))
async def create_queue(body: QueueRequest, service: ManagedDep, response: Response) -> QueueModel:
    """Create an empty queue after the others."""
    adapter = service.board.adapter
    created = await service.board.write(partial(adapter.create_queue, body.name))
    response.headers["Location"] = f"/queues/{quote(created.name, safe='')}"
    return queue_of(created)


@router.get("/queues/{queue_name:name}", responses=documented(404))
async def get_queue(queue_name: str, service: ServiceDep) -> QueueModel:
    """Read one queue."""
    return queue_of(await service.board.queue(queue_name))


@router.patch("/queues/{queue_name:name}", responses=documented(404, 409))
async def rename_queue(queue_name: str, body: QueueRequest, service: ManagedDep) -> QueueModel:
    """Rename a queue; its tasks stay in it. 409: a route uses it, or the new name is taken."""
    await service.board.queue(queue_name)
    if body.name != queue_name:
        await _refuse_if_used(service, queue_name, "renamed")
    rename = partial(service.board.adapter.update_queue, queue_name, new_name=body.name)
    return queue_of(await service.board.write(rename))


@router.delete(
    "/queues/{queue_name:name}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=documented(404, 409),
)
async def delete_queue(queue_name: str, service: ManagedDep) -> None:
    """Delete an empty queue. 409: a route uses it, or it holds tasks (`task_count`)."""
    await service.board.queue(queue_name)
    await _refuse_if_used(service, queue_name, "deleted")
    await service.board.write(partial(service.board.adapter.delete_queue, queue_name))


async def _refuse_if_used(service: Service, queue_name: str, verb: str) -> None:
    """A route must never name a queue that is not there."""
    uses = [
        f"route {route.name!r} ({option})"
        for route in (k.route for k in (await service.runs.routes(fresh=True)).values())
        for option in QUEUE_OPTIONS
        if getattr(route, option) == queue_name
    ]
    if uses:
        raise Problem(
            409,
            "queue-in-use",
            f"The queue {queue_name!r} cannot be {verb}: it is used by {', '.join(uses)}. "
            "Change or delete these routes first.",
        )
