"""The endpoint that streams what a task's agent does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from athanore.api.events.sequence import Cursor
from athanore.api.problems import documented
from athanore.api.routers.stream import TaskStream, answer
from athanore.api.security.auth import CallerDep
from athanore.api.service import ServiceDep, TaskIdDep

_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For `Last-Event-ID`; `end` has none."},
        "event": {"type": "string", "description": "The kind of event, or `end`."},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}

router = APIRouter(tags=["agents"])


@router.get(
    "/tasks/{task_id:id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "The stream.",
            "content": {"text/event-stream": {"itemSchema": _EVENT}},
        },
        204: {"description": "Nothing more will come; do not reconnect."},
        **documented(404),
    },
)
async def stream_events(
    task_id: TaskIdDep,
    service: ServiceDep,
    caller: CallerDep,
    follow: Annotated[
        bool, Query(description="Go on with the task's next run when this one has ended.")
    ] = False,
    whole: Annotated[
        bool, Query(description="Begin with the first of the task's runs, not with the newest.")
    ] = False,
    last_event_id: Annotated[
        str | None,
        Header(description="The id of the last event that you got: the stream goes on after it."),
    ] = None,
) -> Response:
    """Stream the events of a task's agent, as server-sent events.

    The stream begins with the start of the task's current or last run (with `whole=true` with the
    oldest of its last runs), and ends with that run: the last event is `end`. Each event is named
    after its kind; its data is the same JSON as in `GET /agents/{task_id}`. A `Last-Event-ID` that
    is none of ours counts as none. 204 means that nothing more will come, so do not reconnect.
    """
    await service.task(task_id)
    cursor, agent = _cursor(last_event_id), caller.run_id
    stream = TaskStream(service, task_id, cursor, follow=follow, whole=whole, agent=agent)
    if not await stream.open():
        return Response(status_code=204)
    return await answer(stream.lines())


def _cursor(last_event_id: str | None) -> Cursor | None:
    try:
        return Cursor.decode(last_event_id) if last_event_id else None
    except ValueError:
        return None
