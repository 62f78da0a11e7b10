"""What `athanore status`, `tasks`, `show`, `logs`, `routes` and `dead-letters` print, as JSON.

The commands ask here while the app runs, instead of importing it and asking Prefect themselves.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from athanore.api.problems import documented
from athanore.api.routers.stream import answer, of_all_tasks
from athanore.api.security.auth import CallerDep
from athanore.api.service import ServiceDep
from athanore.services import dead_letters
from athanore.services.showing.route_views import RouteTable
from athanore.services.showing.views import (
    DeadLetter,
    LogPage,
    OpenTask,
    Overview,
    WholeTask,
)
from athanore.services.status import looking
from athanore.services.status import overview as whole

router = APIRouter(prefix="/overview", tags=["overview"])


@router.get("")
async def get_overview(service: ServiceDep) -> Overview:
    """Tell how the app is: its routes, what runs and waits, dead letters, what needs a person."""
    async with service.prefect.client(service.app.margins.route_change) as client:
        return await whole.overview(client, service.app)


@router.get(
    "/events",
    response_class=Response,
    responses={200: {"description": "The stream.", "content": {"text/event-stream": {}}}},
)
async def stream_all_events(service: ServiceDep, caller: CallerDep) -> Response:
    """Stream what all agents do, as server-sent events, each with its task's id.

    It begins with the last ten seconds, and goes on until the reader goes. What a burst loses
    follows some seconds later. What came before is in `GET /tasks/{task_id}/events`.
    """
    return await answer(of_all_tasks(service, caller.run_id))


@router.get("/tasks", responses=documented(404))
async def list_open_tasks(
    service: ServiceDep,
    queue: Annotated[
        list[str] | None, Query(description="Only tasks of this queue; may be repeated.")
    ] = None,
) -> tuple[OpenTask, ...]:
    """List the open tasks, queue by queue, in board order, each with its agent run."""
    return await looking.open_tasks(service.prefect, service.app, queue)


@router.get("/routes")
async def get_route_table(service: ServiceDep) -> RouteTable:
    """List the routes in the order in which they get free slots, as a table; scheduled work too."""
    return looking.route_table(await service.runs.routes(fresh=True), service.app.dispatcher)


@router.get("/dead-letters")
async def list_dead_letters(service: ServiceDep) -> tuple[DeadLetter, ...]:
    """List the tasks that were given up: why, after how many attempts, and what was said last."""
    async with service.prefect.client(service.app.margins.route_change) as client:
        return tuple(await dead_letters.read_all(client, service.app))


@router.get("/tasks/{task_id:id}", responses=documented(404))
async def get_whole_task(task_id: str, service: ServiceDep) -> WholeTask:
    """Read a task, whole, and its newest agent runs, as they are now."""
    return await looking.whole_task(service.prefect, service.app, task_id)


@router.get("/tasks/{task_id:id}/log", responses=documented(404, 409))
async def get_log(
    task_id: str,
    service: ServiceDep,
    run: Annotated[
        UUID | None, Query(description="The run; by default the newest of the task.")
    ] = None,
    after: Annotated[
        datetime | None, Query(description="Only what was said after this moment.")
    ] = None,
    offset: Annotated[int, Query(ge=0, description="How many lines to leave out.")] = 0,
) -> LogPage:
    """Read at most 200 lines of the log of a task's run, the oldest first.

    409: the task has had no run.
    """
    return await looking.log_page(service.prefect, service.app, task_id, run, after, offset)
